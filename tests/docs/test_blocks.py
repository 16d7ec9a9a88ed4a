"""Every block of code of the README and the docs is run, or parsed where it cannot be run."""

import contextlib
import re
from collections.abc import Callable

import pytest
from documents import (
    PAGES,
    ROOT,
    Block,
    blocks_of,
    check_command,
    check_data,
    check_marked,
    commands_of,
    read_blocks,
)
from pages import Ran

import rsft.errors

KINDS = {"python", "console", "toml", "json", "text"}
MARKS = {"needs your pictures": r'"\w+(/\w+)+"', "needs a GPU": "cuda"}  # why a block is not run -> what it must hold
ELSEWHERE = ["docs/trainers.md", "docs/scale.md"]  # run by tests/frameworks/test_trainers.py and tests/scale
INCOMPLETE = r"$|Missing (argument|option|parameter|command)|Option .* requires an argument"  # enough for a sentence


def refusal(words: list[str]) -> str:
    """Return why a command is refused, "" if it is not."""
    try:
        check_command(words)
    except Exception as error:
        return str(error)
    return ""


def of_kind(*kinds: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.kind in kinds]


@pytest.mark.parametrize("page", sorted({block.page for block in of_kind("python")} - set(ELSEWHERE)))
def test_the_python_of_a_page_runs_as_one_script(page: str, run_page: Callable[[str], Ran]) -> None:
    run_page(page)


@pytest.mark.parametrize("block", of_kind("console"), ids=str)
def test_the_commands_of_a_page_are_understood(block: Block) -> None:
    assert commands_of(block.code), "a console block needs a command after `$ `"
    for words in commands_of(block.code):
        check_command(words)


@pytest.mark.parametrize("block", of_kind("toml", "json"), ids=str)
def test_the_settings_of_a_page_can_be_read(block: Block) -> None:
    check_data(block)


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_a_sentence_are_understood(page: str) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
    for told in re.findall(r"`(rsft [a-z][^`]*)`", text):
        if not re.search(r"[\[\]|]|\.\.\.", told):  # a form with choices is no command
            assert re.match(INCOMPLETE, refusal(told.split())), told


def test_every_block_is_of_a_known_kind() -> None:
    assert [str(block) for page in PAGES for block in blocks_of(page) if block.kind not in KINDS] == []


def test_no_code_hides_in_an_indented_block() -> None:
    for page in PAGES:
        text = re.sub(r"^( *)```.*?^\1```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
        for before, line in re.findall(r"^(.*)\n\n {4,}(?![-*] |\d+\. )(.*)", text, re.M):
            assert re.match(r" *([-*]|\d+\.|!!!|\?\?\?|:::) | {4}", before), (page, line)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    marked = [block for block in of_kind(*KINDS) if block.mark is not None]
    assert len(marked) <= 8
    for block in marked:
        assert block.kind == "python", f"{block} is not run anyway"
        assert block.mark in MARKS, f"{block}: {block.mark} is no reason: {', '.join(MARKS)}"
        assert re.search(MARKS[block.mark], block.code), f"{block} can be run: it holds no {MARKS[block.mark]}"
        check_marked(block)


def test_wrong_blocks_are_found() -> None:
    for wrong in ("rsft fit --pool p", "rsft plan --poool p", "rsft nothing", "make nothing", "python no.py", "curl x"):
        with pytest.raises(Exception, match=r"[Nn]o|Missing|what is"):
            check_command(wrong.split())
    for right in (
        "rsft models",
        "rsft models check run",
        "accelerate launch --cpu -m rsft embed --pool p --out o",
    ):
        check_command(right.split())
    (toml,) = read_blocks("<!-- not run: for fun -->\n\n```toml\n[recipe]\nstepz = 1\n```\n", "page")
    assert (toml.mark, toml.line, toml.kind) == ("for fun", 3, "toml")
    with pytest.raises(rsft.errors.InputError):
        check_data(toml)
    for code in ("import rsft", "from rsft import nothing", "from rsft import plan\nplan(pol=1, target=2)"):
        with pytest.raises((AssertionError, AttributeError, TypeError)):
            check_marked(Block("page", 1, "python", code, "needs your pictures"))
    with pytest.raises(ValueError, match="without an end"):
        list(read_blocks("```python\n", "page"))
    with contextlib.suppress(StopIteration):
        assert not next(read_blocks("no block", "page"))

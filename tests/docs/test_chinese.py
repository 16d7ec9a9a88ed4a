"""The Chinese pages keep step with the English ones: headings, code, links, figures and numbers."""

import re
from pathlib import PurePosixPath

import pytest
from documents import ROOT, blocks_of

PAIRS = [("README.md", "README.zh-CN.md"), ("docs/index.md", "docs/index.zh.md")]
IN_ENGLISH = {PurePosixPath(chinese).name: PurePosixPath(english).name for english, chinese in PAIRS}
CODE = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?![\w])")
INLINE = re.compile(r"`[^`]+`")

pairs = pytest.mark.parametrize(("english", "chinese"), PAIRS)


def prose(page: str) -> str:
    return CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))


def in_english(target: str) -> str:
    """Return the English page that a link leads to, if it leads to a Chinese one."""
    path, _, section = target.partition("#")
    where = PurePosixPath(path)
    return f"{where.with_name(IN_ENGLISH.get(where.name, where.name))}#{section}"


@pairs
def test_the_headings_are_as_many_of_the_same_levels(english: str, chinese: str) -> None:
    levels = [re.findall(r"^(#+) (\d+\.)?", prose(page), re.M) for page in (english, chinese)]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 4


@pairs
def test_the_code_is_the_same(english: str, chinese: str) -> None:
    code = [[(block.kind, block.code, block.mark) for block in blocks_of(page)] for page in (english, chinese)]
    assert code[0] == code[1]


@pairs
def test_they_lead_to_the_same_pages_and_to_each_other(english: str, chinese: str) -> None:
    links = [LINK.findall(prose(page)) for page in (english, chinese)]
    other = [PurePosixPath(page).name for page in (chinese, english)]
    assert [there in leads[:1] for there, leads in zip(other, links, strict=True)] == [True, True]
    assert [in_english(link) for link in links[0][1:]] == [in_english(link) for link in links[1][1:]]


@pairs
def test_they_show_the_same_figures_and_name_the_same_code(english: str, chinese: str) -> None:
    for pattern in (re.compile(r'src(?:set)?="([^"]+)"'), INLINE):
        found = [sorted(pattern.findall(prose(page))) for page in (english, chinese)]
        assert found[0] == found[1]


@pairs
def test_they_state_the_same_numbers_section_by_section(english: str, chinese: str) -> None:
    for parts in zip(*(re.split(r"^#+ ", prose(page), flags=re.M) for page in (english, chinese)), strict=True):
        numbers = [sorted(NUMBER.findall(INLINE.sub("", LINK.sub("]", part)))) for part in parts]
        assert numbers[0] == numbers[1], parts[0][:40]


@pairs
def test_the_chinese_page_is_in_chinese(english: str, chinese: str) -> None:
    """No sentence was left in English: every paragraph, row and item has Chinese letters."""
    text = re.sub(r"<[^>]+>", "", INLINE.sub("", prose(chinese)))
    left = [line for line in text.splitlines() if len(re.findall(r"[A-Za-z]{2,}", line)) > 2]
    assert [line for line in left if not re.search(r"[\u4e00-\u9fff]", line)] == []

"""Examples in the help of each command; a test parses them."""

from rich.markup import escape

FOLDERS = "--pool faces/pool --target faces/target"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("rsft demo --quick", "rsft demo --shift mask --out masks"),
    "plan": (
        f"rsft plan {FOLDERS} --out plan",
        "rsft plan --pool pool.csv --shares shares.toml",
        "rsft plan --pool pool.npy --target target.npy --labels labels.npy",
    ),
    "fit": (
        f"rsft fit {FOLDERS} --eval faces/evaluation --out run",
        f"rsft fit {FOLDERS} --eval pairs.csv --retain faces/usual --config recipe.toml --out run --seed 1",
    ),
    "compare": (
        f"rsft compare {FOLDERS} --eval faces/evaluation --out compared --seeds 3",
        f"rsft compare {FOLDERS} --eval faces/evaluation --out networks --model dlib --model sface",
    ),
    "evaluate": (
        "rsft evaluate --model run --eval faces/evaluation",
        "rsft evaluate --model dlib --model sface --model run --eval faces/evaluation",
    ),
    "threshold": (
        "rsft threshold --model run --eval faces/evaluation --fmr 0.001",
        "rsft threshold --model run --eval pairs.csv --fmr 0.01 --fmr 0.001 --write",
    ),
    "embed": ("rsft embed --pool faces/pool --out embedded", "rsft embed --pool pool.tar --model run --out embedded"),
    "export": (
        "rsft export run --onnx tuned.onnx",
        "rsft export sface --bundle sface",
        "rsft export run --hub-folder upload",
    ),
    "forget": ("rsft forget --identity ann run1 run2 --manifest pool.csv",),
    "convert": ("rsft convert faces/pool pool.tar",),
    "scored": (
        "rsft scored scored-by-ray",
        "rsft scored scored-by-ray --epoch 0 --out epoch-0.csv --column path",
    ),
    "report": ("rsft report run", "rsft report run run2 --out runs"),
    "rerun": ("rsft rerun run",),
    "monitor": (
        "rsft monitor run --target faces/today",
        "rsft monitor run --target faces/today --reference faces/target --history watch --json",
    ),
    "doctor": ("rsft doctor", "rsft doctor faces/pool faces/target faces/evaluation"),
    "data check": ("rsft data check faces/pool --against faces/evaluation",),
    "data index": ("rsft data index 'shards/s-{000..015}.tar'", "rsft data index s3://bucket/faces.tar"),
    "models check": ("rsft models check dlib", "rsft models check run"),
    "gallery migrate": (
        "rsft gallery migrate embedded --pool faces/gallery --model run --old-model dlib --out migrated",
    ),
}


def epilog(name: str) -> str:
    """Return the examples of a command, as the end of its help."""
    title = "Example" if len(EXAMPLES[name]) == 1 else "Examples"
    return "\n\n".join([f"{title}:", *(f"  {escape(line)}" for line in EXAMPLES[name])])

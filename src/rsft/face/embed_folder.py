"""`rsft embed`: embed a set of pictures into a folder."""

from pathlib import Path
from typing import Any

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.disk.whole import discard
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.inputs import Sources, inputs_of
from rsft.face.runs.machines import check_shared
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.same_inputs import check_same_inputs
from rsft.run_folder import check_output, writing
from rsft.tuning.distributed import first_enters, join, on_first
from rsft.types import PathLike

PARTS_FOLDER = "parts"


def embed_folder(
    *,
    pool: PathLike,
    out: PathLike,
    model: ModelLike = "dlib",
    aligned: bool = False,
    landmarks: PathLike | None = None,
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener = silent,
) -> Features:
    """Embed pictures and write the result into a folder; `Features.save` describes its files.

    Under `torchrun` or `accelerate launch`, each process embeds its part of the pictures.
    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        pool: See `Sources`. Here the pictures need no labels.
        out: The folder to create.
        model: See `Sources`.
        aligned: See `Sources`.
        landmarks: See `Sources`.
        overwrite: Replace an `out` that rsft wrote.
        resume: Reuse what an interrupted call has embedded.
        listener: Callback that receives (stage, done, total) as the stage advances.

    Returns:
        The features of all pictures that could be used.

    Raises:
        InputError: An input cannot be read, no picture could be used, or `out` may not be written.
    """
    sources = Sources(pool=pool, model=model, landmarks=landmarks, aligned=aligned)
    join()
    on_first(lambda: check_output(Path(out), inputs=sources.paths, overwrite=overwrite, resume=resume))
    sets, stages = {"pictures": find_images(pool)}, Stages(listener)
    inputs = inputs_of(load_model(model), sets, landmarks=landmarks, aligned=aligned)
    inputs.check_alike()
    with first_enters(
        writing(Path(out), inputs=sources.paths, overwrite=overwrite, resume=resume, private=True)
    ) as folder:
        check_shared(folder)
        given: dict[str, Any] = {"model": inputs.model, "points": inputs.points, "aligned": aligned}
        on_first(lambda: check_same_inputs(folder / PARTS_FOLDER, sets, **given))
        features = inputs.embed("pictures", stages, folder=folder / PARTS_FOLDER)

        def write() -> None:
            features.save(folder)
            discard(folder / PARTS_FOLDER)

        on_first(write)
    return features

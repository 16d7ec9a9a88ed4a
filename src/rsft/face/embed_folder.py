"""`rsft embed` on pictures."""

import shutil
from pathlib import Path

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.inputs import Sources, inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
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
    """Embed the pictures that `find_images` finds into the folder `out`; see `Features.save` for its files.

    Under a launcher each process embeds its part.

    Args:
        pool: the pictures.
        out: the folder to make.
        model: "dlib" or the folder of a run.
        aligned: the pictures are aligned chips already.
        landmarks: a file as `read_landmarks` takes it: no face is looked for.
        overwrite: replace an existing `out`.
        resume: keep the parts that an interrupted call has embedded.
        listener: is told how far it is.

    Raises:
        InputError: no picture could be used, or `out` exists.
    """
    sources = Sources(pool=pool, model=model, landmarks=landmarks, aligned=aligned)
    join()
    on_first(lambda: check_output(Path(out), inputs=sources.paths, overwrite=overwrite, resume=resume))
    sets, stages = {"pictures": find_images(pool)}, Stages(listener)
    inputs = inputs_of(load_model(model), sets, landmarks=landmarks, aligned=aligned)
    with first_enters(writing(Path(out), inputs=sources.paths, overwrite=overwrite, resume=resume)) as folder:
        features = inputs.embed("pictures", stages, folder=folder / PARTS_FOLDER)

        def write() -> None:
            features.save(folder)
            shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)

        on_first(write)
    return features

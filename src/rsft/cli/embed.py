"""`rsft embed`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import FORMS, Aligned, Json, Landmarks, Model, Overwrite, Resume
from rsft.cli.progress import progress


def embed(
    pool: Annotated[Path, typer.Option(help=f"Pictures: {FORMS}.")],
    out: Annotated[Path, typer.Option(help="Folder to create, with embeddings.npy and embedding.json.")],
    model: Model = "dlib",
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Print the names of pictures left out, not hashes.")
    ] = False,
    json: Json = False,
) -> None:
    """Compute the embeddings of pictures, for `rsft plan` or for use elsewhere."""
    from rsft.face.embed_folder import embed_folder
    from rsft.face.runs.pseudonyms import new_pseudonyms

    with progress(quiet=json) as listener:
        features = embed_folder(
            pool=pool,
            out=out,
            model=model,
            aligned=aligned,
            landmarks=landmarks,
            overwrite=overwrite,
            resume=resume,
            listener=listener,
        )
    pseudonym = new_pseudonyms(show=show_faces)
    left_out = [[pseudonym(item), reason] for item, reason in features.quarantined]
    if json:
        show.print_json({"items": len(features), "quarantined": left_out, "out": str(out)})
    else:
        print(f"{len(features)} pictures embedded, {len(left_out)} left out: {out}")
        for name, reason in left_out[:10]:
            print(f"  {name}: {reason}")
        if left_out and not show_faces:
            print("  Names are hashed. embedding.json contains them, and --show-faces prints them.")

"""``pearl-data tools check``: the self-test of a learned tool."""

from __future__ import annotations

import click

from pearl_data.cli.output import depth_model_option, device_option, leave, naming_a_model
from pearl_data.command_line import json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say


@click.command()
@click.argument("name", type=click.Choice(["depth"]))
@depth_model_option
@device_option
@json_option
def check(name: str, depth_model: str, device: str, as_json: bool) -> None:
    """Run the self-test of tool NAME on rendered pictures of known depth.

    Reports if larger means nearer in the maps of the depth model, with Spearman's correlation, and
    exits 1 with a remedy if it does not. The type of a model declares its sign;
    MODEL#relative_inverse, MODEL#inverse or MODEL#metric overrules that.

    Example: pearl-data tools check depth --depth-model embedded
    """
    stage("tools check", f"loading the depth model {depth_model}")
    from pearl_data.depth_eval import check_model
    from pearl_tools.depth import load_depth_model
    from pearl_tools.depth.outputs import DESCRIBED
    from pearl_tools.threads import one_thread

    one_thread(depth=True)
    with naming_a_model():
        model = load_depth_model(depth_model, device=device)
    found = check_model(model)
    if as_json:
        print_json(found)
    else:
        own = DESCRIBED[found.output]
        say(f"{name}: {found.model_id}, {own}, weights {found.weights_sha256[:12]}")
        say(f"{'ok' if found.passed else 'refused'}: {found.told}")
    if not found.passed:
        leave(1)

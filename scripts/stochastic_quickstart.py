"""The stochastic predictor on the quickstart's task, beside the message of docs/results/quickstart.

    python scripts/stochastic_quickstart.py --store FOLDER-OF-A-QUICKSTART [--output docs/results/stochastic]

Takes the trials of a quickstart that was run before (or trains them), trains the posterior, certifies it, and writes what
it found.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from idbounds.config import CertificateSection, StochasticSection
from idbounds.core.values import CertificateFile
from idbounds.measuring import measure
from idbounds.preparation import prepare
from idbounds.provenance import provenance_line
from idbounds.quickstart import quickstart_config
from idbounds.reporting import percent, percent_up
from idbounds.stochastic import certify_stochastic

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="a folder with the trials of a quickstart")
    parser.add_argument("--output", type=Path, default=RESULTS / "stochastic")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500)
    given = parser.parse_args()
    config = quickstart_config(given.output).model_copy(
        update={
            "store": given.store,
            # Alone, so that each of the two compared bounds has the whole of δ.
            "certificate": CertificateSection(delta=0.05, predictors=("stochastic",)),
            "stochastic": StochasticSection(steps=given.steps, draws=given.draws, learning_rate=0.05),
        }
    )
    run = prepare(config)
    measure(run)
    start = time.monotonic()
    made, _ = certify_stochastic(run)
    message = CertificateFile.read(RESULTS / "quickstart" / "certificate.json")
    drawn = made.train_draws
    rows = (
        (
            "message",
            percent(message.training.evidence.risk),
            f"{message.training.complexity.num_bits:.0f}",
            percent_up(message.training.value),
            percent_up(message.held_out.value),
        ),
        (
            f"stochastic, d = {made.d}",
            f"{percent(drawn.mean)}, at most {percent_up(drawn.risk_at_most)}",
            f"{made.training.complexity.num_bits:.0f}",
            percent_up(made.training.value),
            percent_up(made.held_out.value),
        ),
    )
    report = [
        "# A stochastic predictor beside the message",
        "",
        "MiniLM on BBC News, the quickstart's trials, δ = 0.05 for each bound by itself. Bits are the message's length, or",
        f"KL(Q‖P) and the choices. {given.steps} training steps, {given.draws} draws.",
        "",
        "| predictor | training error (%) | bits | true risk at most (%) | held-out bound (%) |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        provenance_line(seconds=f"{time.monotonic() - start:.0f}"),
        "",
    ]
    (given.output / "report.md").write_text("\n".join(report), encoding="utf-8")
    print("\n".join(report))


if __name__ == "__main__":
    main()

"""DAGs by which a person decides about a pipeline's model, with a reason, on record."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from relevo.operators.interventions import (
    FreezeOperator,
    PromoteOperator,
    RefuseOperator,
    UnfreezeOperator,
    WithdrawOperator,
)
from relevo.operators.rollback import RollBackOperator
from relevo.platform import declare_step

_ROLLBACK_DOC = """
# Roll back

Puts a version in use again that was in use before, model and drift reference together, from the
next partition on. What was scored stays as it is, and keeps the champion that scored it.

Trigger it with the name of the `pipeline`, the `version` (left empty: the one that was in use
before), and the `reason`, which goes into the ledger with your name. Going back to what is in use
already changes nothing, and the task is skipped. A later training may take over again by the
gate of the pipeline file.

`./relevo history <pipeline>` and the decisions page tell what was in use when, and why.
"""

_FREEZE_DOC = """
# Freeze

Lets nothing take the champion's place until `platform_unfreeze`: no training starts by itself, one
that is triggered or under way is judged and refused for that reason, and nobody rolls back or
promotes by hand. Scoring and monitoring go on.

Trigger it with the name of the `pipeline` and the `reason`, which goes into the ledger with your
name. It holds whoever is in use when the task does it. If the champion is frozen already, the task
is skipped.

The decisions page and `./relevo history <pipeline>` tell who froze it, since when, and why.
"""

_UNFREEZE_DOC = """
# Unfreeze

Ends what `platform_freeze` began: from then on the gate of the pipeline file decides again. What
was refused because the champion was frozen stays so; clear `evaluate_challenger` there, with what
follows it, or promote that version by hand.

Trigger it with the name of the `pipeline` and the `reason`, which goes into the ledger with your
name. If the champion is not frozen, the task is skipped.
"""

_PROMOTE_DOC = """
# Promote

Puts a registered version in use that is not, whatever its verdict was, from the next partition on.
The ledger says who and why, and what the gate had said. What was scored stays as it is.

Trigger it with the name of the `pipeline`, the `version`, and the `reason`. A version that is in
use already changes nothing, and the task is skipped; a frozen champion must be unfrozen first. It
ends what `platform_refuse` began. A later training may take over by the gate, and
`platform_rollback` goes back.
"""

_REFUSE_DOC = """
# Refuse

Keeps a version out of use for good: it is not promoted, also not if a person approves it, and not
gone back to. Only `platform_promote` takes that back. The champion must be rolled back first.

Trigger it with the name of the `pipeline`, the `version`, and the `reason`, which goes into the
ledger with your name. If the version is refused already, the task is skipped.
"""

_WITHDRAW_DOC = """
# Withdraw

Takes back a training that was requested and has not begun, so that no later partition waits for it.
A later yes may ask for it again.

Trigger it with the name of the `pipeline`, the `partition` as of which it was requested, and the
`reason`. If it is withdrawn already, the task is skipped. `./relevo withdraw` does the same without
Airflow.
"""


def declare_rollback() -> DAG:
    """Make ``platform_rollback``; Airflow finds it by itself."""
    version = Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="What to go back to; leave it empty for the one that was in use before.",
    )
    return declare_step(
        "platform_rollback",
        RollBackOperator,
        "roll_back",
        "Verifies the version's files, moves the alias, and writes the ledger; skipped "
        "if nothing changes.",
        description="Goes back to a model version that was in use before.",
        doc_md=_ROLLBACK_DOC,
        whose="Whose model is rolled back.",
        version=version,
    )


def declare_freeze() -> DAG:
    """Make ``platform_freeze``; Airflow finds it by itself."""
    return declare_step(
        "platform_freeze",
        FreezeOperator,
        "freeze",
        "Adds the event to the registry and writes the ledger; skipped if it is frozen.",
        description="Lets nothing take the champion's place until it is unfrozen.",
        doc_md=_FREEZE_DOC,
        whose="Whose champion is frozen.",
    )


def declare_unfreeze() -> DAG:
    """Make ``platform_unfreeze``; Airflow finds it by itself."""
    return declare_step(
        "platform_unfreeze",
        UnfreezeOperator,
        "unfreeze",
        "Adds the event to the registry and writes the ledger; skipped if the champion "
        "is not frozen.",
        description="Lets the gate decide again who is champion.",
        doc_md=_UNFREEZE_DOC,
        whose="Whose champion is not frozen any more.",
    )


def declare_promote() -> DAG:
    """Make ``platform_promote``; Airflow finds it by itself."""
    return declare_step(
        "platform_promote",
        PromoteOperator,
        "promote",
        "Verifies the version's files, moves the alias, and writes the ledger; skipped "
        "if it is in use.",
        description="Puts a model version in use by hand, whatever its verdict was.",
        doc_md=_PROMOTE_DOC,
        whose="Whose version is put in use.",
        version=_version("What to put in use."),
    )


def declare_refuse() -> DAG:
    """Make ``platform_refuse``; Airflow finds it by itself."""
    return declare_step(
        "platform_refuse",
        RefuseOperator,
        "refuse",
        "Adds the event to the registry and writes the ledger; skipped if the version "
        "is refused already.",
        description="Keeps a model version out of use for good.",
        doc_md=_REFUSE_DOC,
        whose="Whose version is refused.",
        version=_version("What to refuse; not the one in use."),
    )


def declare_withdraw() -> DAG:
    """Make ``platform_withdraw``; Airflow finds it by itself."""
    partition = Param(
        type="string",
        minLength=1,
        title="Partition",
        description="As of which the training was requested, such as 2005-Q1.",
    )
    return declare_step(
        "platform_withdraw",
        WithdrawOperator,
        "withdraw",
        "Writes the ledger; skipped if it is withdrawn already.",
        description="Takes back a training that was requested and has not begun.",
        doc_md=_WITHDRAW_DOC,
        whose="Whose training is withdrawn.",
        partition=partition,
    )


def _version(description: str) -> Param:
    return Param(type="integer", minimum=1, title="Version", description=description)

"""Checking a pipeline: what its file names, and what its owner is told about it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

import include.pipelines
from include.development.checking import check
from include.development.run_dates import run_dates
from include.errors import SpecificationError
from include.specification.pipeline_file import Finding, load

FILE = """\
description: Chance that a loan defaults.
owner: tests
task: binary
entity: loan_id
event_time: at
partition: quarterly
schedule: {cron: "0 6 5 1,4,7,10 *", start: 2005-01-01}
sources:
  loans: {uri: "s3://landing/checked/loans/{partition}/", suite: checked_loans}
  banks: {uri: "s3://landing/checked/banks/{partition}/", suite: checked_loans}
  outcomes:
    uri: s3://landing/checked/outcomes/{partition}/
    suite: checked_loans
    labels: {column: bad, known_at: known}
features: {function: "include.pipelines.MODULE:features", suite: checked_features}
training:
  window: 3
  candidates:
    logistic_regression: {}
promotion:
  require: {roc_auc: 0.6}
"""
MODULE = """\
def features(loans, banks):
    return loans


def profit(labels, scores):
    return 0.0


def lonely(labels):
    return 0.0
"""
SUITE = {"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "loan_id"}}]}


@dataclass
class Project:
    """A pipeline ``checked`` with all that it names; parts can be replaced."""

    root: Path
    module: str

    def write(self, *edits: tuple[str, str], code: str = MODULE) -> None:
        text = FILE.replace("MODULE", self.module)
        for old, new in edits:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        (self.root / "checked.yaml").write_text(text)
        (self.root / f"{self.module}.py").write_text(textwrap.dedent(code))

    def check(self) -> list[Finding]:
        return list(check("checked", pipelines=self.root, expectations=self.root, dags=self.root))

    def told(self, *edits: tuple[str, str], code: str = MODULE) -> list[str]:
        """Write the pipeline with edits and render what checking it finds."""
        self.write(*edits, code=code)
        return [f"{item.level} {item}" for item in self.check()]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Project:
    for name in ("checked_loans", "checked_features"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, **SUITE}))
    (tmp_path / "checked.py").write_text('from relevo.dags import declare\n\ndeclare("checked")\n')
    monkeypatch.setattr(include.pipelines, "__path__", [*include.pipelines.__path__, str(tmp_path)])
    # A module of its own for each test: Python imports a name only once.
    return Project(tmp_path, f"checked_{abs(hash(request.node.nodeid))}")


def test_the_shipped_pipeline_has_no_finding() -> None:
    assert check("loan_default") == ()


def test_a_right_pipeline_has_no_finding(project: Project) -> None:
    assert project.told() == []


def test_a_wrong_file_is_told_as_loading_it_does(project: Project) -> None:
    project.write(("task: binary", "task: binry"), ("window: 3", "window: 0"))
    with pytest.raises(SpecificationError) as caught:
        load("checked", project.root)
    assert "\n".join(map(str, project.check())) == str(caught.value)
    assert {item.level for item in project.check()} == {"error"}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            ("task: binary", "task: regression"),
            "training.candidates.logistic_regression: cannot do task regression",
        ),
        (
            ("    labels: {column: bad, known_at: known}\n", ""),
            "exactly one source must have labels",
        ),
        (("event_time: at\n", ""), "event_time: required"),
    ],
)
def test_a_file_that_does_not_fit_together_is_told_as_loading_it_does(
    project: Project, edit: tuple[str, str], told: str
) -> None:
    project.write(edit)
    with pytest.raises(SpecificationError) as caught:
        load("checked", project.root)
    assert "\n".join(map(str, project.check())) == str(caught.value)
    assert told in str(caught.value)


def test_a_missing_file_is_an_error_of_its_own(project: Project) -> None:
    project.write()
    with pytest.raises(SpecificationError, match=r"pipeline chekd: .*did you mean 'checked'"):
        check("chekd", pipelines=project.root)


class TestFeatureFunction:
    def test_a_parameter_that_is_no_source(self, project: Project) -> None:
        code = MODULE.replace("def features(loans, banks)", "\n\ndef features(loan, banks)")
        assert project.told(code=code) == [
            f"error {project.module}.py:3: features(): its parameters must be the sources of "
            "features of checked.yaml, loans, banks, got 'loan'; did you mean 'loans'?"
        ]

    def test_a_source_that_is_no_parameter(self, project: Project) -> None:
        code = MODULE.replace("(loans, banks)", "(loans)")
        assert project.told(code=code) == [
            f"error {project.module}.py:1: features(): its parameters must be the sources of "
            "features of checked.yaml, loans, banks, got none for 'banks'. Add the parameter."
        ]

    def test_a_source_of_labels_alone_is_no_parameter(self, project: Project) -> None:
        code = MODULE.replace("(loans, banks)", "(loans, banks, outcomes)")
        (told,) = project.told(code=code)
        assert "got 'outcomes'; choose from banks, loans" in told

    def test_any_source_or_a_default_of_ones_own(self, project: Project) -> None:
        assert project.told(code=MODULE.replace("(loans, banks)", "(loans, banks, deep=2)")) == []

    def test_a_function_of_any_sources(self, project: Project) -> None:
        assert project.told(code=MODULE.replace("(loans, banks)", "(**sources)")) == []

    def test_a_feature_that_the_suite_expects_and_the_function_lost(self, project: Project) -> None:
        suite = [
            '{"name": "checked_features", "expectations": [',
            '{"type": "expect_table_columns_to_match_set", "kwargs": {',
            '  "column_set": ["loan_id", "at",',
            '    "amount", "share"], "exact_match": false}},',
            '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "amount"}},',
            '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "at"}}',
            "]}",
        ]
        (project.root / "checked_features.json").write_text("\n".join(suite))
        select = 'loans.select("loan_id", "at", "amounts", f.lit(1).alias("share"))'
        module = f"{project.module}.py"
        assert project.told(code=MODULE.replace("return loans", f"return {select}", 1)) == [
            f"error checked_features.json:{line}: {kind}: its columns must be among those that "
            f"features() returns, got 'amount'; did you mean 'amounts'? Change the line, or "
            f"return the column in {module}."
            for line, kind in (
                (4, "expect_table_columns_to_match_set"),
                (5, "expect_column_values_to_not_be_null"),
            )
        ]

    @pytest.mark.parametrize(
        "head",
        [
            '{"name": "checked_features", "meta": {"expectations": [{}, {}]}, "expectations"',
            '{"name": "checked_features", "expectati\\u006fns"',
        ],
    )
    def test_a_suite_whose_text_says_the_word_elsewhere_or_in_escapes(
        self, project: Project, head: str
    ) -> None:
        item = '{"type": "expect_column_to_exist", "kwargs": {"column": "amount"}}'
        (project.root / "checked_features.json").write_text(f"{head}: [\n{item}\n]}}")
        code = MODULE.replace("return loans", 'return loans.select("loan_id", "at")', 1)
        (found,) = project.told(code=code)
        assert found.startswith("error checked_features.json:2: expect_column_to_exist: ")

    def test_a_feature_that_an_exact_suite_does_not_list(self, project: Project) -> None:
        kwargs = {"column_set": ["loan_id", "at"]}
        suite = {"type": "expect_table_columns_to_match_set", "kwargs": kwargs}
        path = project.root / "checked_features.json"
        path.write_text(json.dumps({"name": "checked_features", "expectations": [suite]}))
        code = MODULE.replace("return loans", 'return loans.select("loan_id", "at", "share")', 1)
        assert project.told(code=code) == [
            "error checked_features.json:1: expect_table_columns_to_match_set: must list every "
            "column that features() returns, got none for 'share'. Add it, or set exact_match to "
            "false."
        ]

    def test_a_key_that_the_function_does_not_return(self, project: Project) -> None:
        code = MODULE.replace("return loans", 'return loans.select("loan_id", "share")', 1)
        assert project.told(code=code) == [
            f"error {project.module}.py:1: features(): must return column 'at', got loan_id, "
            "share. Keep it in the last select."
        ]

    def test_no_such_module(self, project: Project) -> None:
        assert project.told(("pipelines.checked", "pipelines.chekd")) == [
            "error checked.yaml:15: features.function: its module must exist, got no "
            f"include/pipelines/{project.module.replace('checked', 'chekd')}.py. Write it."
        ]

    def test_no_such_function(self, project: Project) -> None:
        assert project.told((":features", ":featurs")) == [
            f"error checked.yaml:15: features.function: must be a function of include.pipelines."
            f"{project.module}, got none of the name 'featurs'; did you mean 'features'?"
        ]

    def test_something_else_than_a_function(self, project: Project) -> None:
        assert project.told(code="features = 7\n") == [
            "error checked.yaml:15: features.function: must be a function, got a int. "
            "Name a function."
        ]

    def test_a_module_with_a_syntax_error(self, project: Project) -> None:
        (told,) = project.told(code="import json\n\ndef features(loans, banks)\n    return loans\n")
        assert told == (
            f"error {project.module}.py:3: must be importable, got expected ':'. Correct the line."
        )

    def test_a_module_that_fails(self, project: Project) -> None:
        code = f"import json\n\njson.loads('no')\n{MODULE}"
        (told,) = project.told(code=code)
        assert told.startswith(
            f"error {project.module}.py:3: must be importable, got JSONDecodeError: "
        )

    def test_a_module_that_imports_what_is_not_there(self, project: Project) -> None:
        (told,) = project.told(code=f"import json\nimport no_such_package\n{MODULE}")
        assert told == (
            f"error {project.module}.py:2: must be importable, got ModuleNotFoundError: No module "
            "named 'no_such_package'. Correct the line."
        )


class TestMetrics:
    def test_a_metric_of_ones_own(self, project: Project) -> None:
        metric = f'metrics: {{profit: {{function: "include.pipelines.{project.module}:profit", '
        assert project.told(("training:", metric + "takes: scores}}\ntraining:")) == []

    def test_a_metric_that_takes_the_labels_only(self, project: Project) -> None:
        metric = f'metrics: {{profit: {{function: "include.pipelines.{project.module}:lonely", '
        assert project.told(("training:", metric + "takes: scores}}\ntraining:")) == [
            "error checked.yaml:16: metrics.profit.function: must be callable with two arguments, "
            "labels and predictions, got: too many positional arguments. Correct its parameters."
        ]


def candidate(text: str) -> tuple[str, str]:
    return "    logistic_regression: {}\n", text


class TestCandidates:
    def test_an_estimator_of_ones_own(self, project: Project) -> None:
        assert (
            project.told(
                candidate(
                    "    trees:\n"
                    "      estimator: sklearn.ensemble.ExtraTreesClassifier\n"
                    "      trials: 2\n"
                    "      parameters: {n_estimators: 50}\n"
                    "      search: {max_depth: [4, null], min_samples_leaf: {low: 1, high: 9}}\n"
                )
            )
            == []
        )

    def test_every_preset(self, project: Project) -> None:
        names = (
            "hist_gradient_boosting",
            "k_nearest_neighbors",
            "multilayer_perceptron",
            "random_forest",
            "support_vector_machine",
            "xgboost",
        )
        every = "".join(f"    {name}: {{trials: 1}}\n" for name in names)
        assert project.told(candidate(every)) == []

    def test_a_misspelt_class(self, project: Project) -> None:
        text = "    trees: {estimator: sklearn.ensemble.ExtraTreeClassifier}\n"
        assert project.told(candidate(text)) == [
            "error checked.yaml:19: training.candidates.trees.estimator: must be importable, got "
            "'sklearn.ensemble.ExtraTreeClassifier'; did you mean 'ExtraTreesClassifier'?"
        ]

    def test_a_package_that_is_not_there(self, project: Project) -> None:
        text = "    net: {estimator: no_such_package.Net}\n"
        assert project.told(candidate(text)) == [
            "error checked.yaml:19: training.candidates.net.estimator: must be importable, got "
            "'no_such_package.Net'. Install its package."
        ]

    def test_a_function_in_place_of_a_class(self, project: Project) -> None:
        (told,) = project.told(candidate("    c: {estimator: sklearn.base.clone}\n"))
        assert (
            "estimator: must be a class with fit and predict, got the function 'sklearn.base.clone'"
        ) in told

    def test_a_class_that_is_no_estimator(self, project: Project) -> None:
        (told,) = project.told(candidate("    c: {estimator: collections.OrderedDict}\n"))
        assert told.startswith("error checked.yaml:19: training.candidates.c.estimator: ")
        assert "must be a class with fit and predict" in told

    def test_a_regressor_for_classes(self, project: Project) -> None:
        (told,) = project.told(candidate("    c: {estimator: sklearn.linear_model.Lasso}\n"))
        assert "must be a classifier for task binary" in told

    def test_misspelt_arguments_at_their_lines(self, project: Project) -> None:
        text = (
            "    random_forest:\n"
            "      parameters:\n"
            "        n_estimator: 50\n"
            "        max_depth: 3\n"
            "      search:\n"
            "        min_sample_leaf: [1, 2]\n"
        )
        assert project.told(candidate(text)) == [
            "error checked.yaml:21: training.candidates.random_forest.parameters.n_estimator: must "
            "be an argument of RandomForestClassifier, got 'n_estimator'; did you mean "
            "'n_estimators'?",
            "error checked.yaml:24: training.candidates.random_forest.search.min_sample_leaf: must "
            "be an argument of RandomForestClassifier, got 'min_sample_leaf'; did you mean "
            "'min_samples_leaf'?",
        ]

    def test_an_estimator_that_takes_anything_is_a_warning(self, project: Project) -> None:
        text = "    xgboost: {parameters: {max_dept: 3}}\n"
        assert project.told(candidate(text)) == [
            "warning checked.yaml:19: training.candidates.xgboost.parameters.max_dept: must be an "
            "argument of XGBClassifier, got 'max_dept'; did you mean 'max_depth'?"
        ]

    def test_a_candidate_that_cannot_weigh_classes(self, project: Project) -> None:
        text = "    k_nearest_neighbors: {}\n  imbalance: class_weight\n"
        (told,) = project.told(candidate(text))
        assert told.startswith("error checked.yaml:19: training.candidates.k_nearest_neighbors: ")
        assert "class_weight" in told


class TestSuites:
    def test_a_missing_suite(self, project: Project) -> None:
        (told,) = project.told(("suite: checked_features", "suite: checked_featurs"))
        assert told.startswith("error checked.yaml:15: features.suite: suite checked_featurs: ")
        assert told.endswith("did you mean 'checked_features'?")

    def test_a_suite_that_is_no_json_is_told_at_its_line(self, project: Project) -> None:
        (project.root / "checked_features.json").write_text('{\n "name": oops\n}')
        (told,) = project.told()
        assert told.startswith(
            "error checked_features.json:2: suite checked_features.json: must be JSON"
        )

    def test_a_suite_of_another_name(self, project: Project) -> None:
        text = json.dumps({"name": "other", **SUITE})
        (project.root / "checked_features.json").write_text(text)
        (told,) = project.told()
        assert told.startswith("error checked.yaml:15: features.suite: suite checked_features.json")

    def test_a_suite_that_is_used_twice_is_told_once(self, project: Project) -> None:
        (project.root / "checked_loans.json").unlink()
        (told,) = project.told()
        assert told.startswith("error checked.yaml:9: sources.loans.suite: ")


class TestExpression:
    def test_right(self, project: Project) -> None:
        assert project.told(("column: bad", "expression: delay > 15 and not cancelled")) == []

    @pytest.mark.parametrize(
        "expression", ["delay >", "'1; select 2'", "'1) from t; drop table t; select (1'"]
    )
    def test_wrong(self, project: Project, expression: str) -> None:
        (told,) = project.told(("column: bad", f"expression: {expression}"))
        assert told.startswith(
            "error checked.yaml:14: sources.outcomes.labels.expression: must be "
        )


class TestSchedule:
    def test_a_schedule_that_skips_partitions(self, project: Project) -> None:
        assert project.told(("0 6 5 1,4,7,10 *", "0 6 5 1 *")) == [
            "warning checked.yaml:7: schedule.cron: runs more rarely than quarterly, got '0 6 5 1 "
            "*': 2005-Q1 is left out between the runs of 2005-01-05 and 2006-01-05. Run at least "
            "once a partition, or choose longer ones."
        ]

    def test_a_schedule_that_runs_more_often_is_fine(self, project: Project) -> None:
        assert project.told(("0 6 5 1,4,7,10 *", "0 6 5 * *")) == []

    def test_a_schedule_that_never_runs(self, project: Project) -> None:
        (told,) = project.told(("start: 2005-01-01", "start: 2005-01-06, end: 2005-02-01"))
        assert told.startswith("warning checked.yaml:7: schedule.cron: never falls between ")

    def test_the_dates_of_runs(self) -> None:
        pipeline = load("loan_default")
        dates = list(run_dates(pipeline))
        assert (len(dates), dates[0]) == (17, datetime(2005, 1, 5, 6))
        later = run_dates(pipeline, datetime(2008, 12, 1))
        assert list(islice(later, 5)) == [datetime(2009, 1, 5, 6)]


class TestSources:
    def test_a_source_without_time_is_todays_in_a_backfill(self, project: Project) -> None:
        assert project.told(("checked/banks/{partition}/", "checked/banks.parquet")) == [
            "warning checked.yaml:10: sources.banks: has no time, so that a backfill of a past "
            "partition sees today's rows. Name its time, or bring one partition at a time, if its "
            "rows change."
        ]

    def test_a_time_is_enough(self, project: Project) -> None:
        edit = ('checked/banks/{partition}/"', 'checked/banks.parquet", time: since')
        assert project.told(edit) == []

    def test_two_pipelines_that_read_the_same_folder(self, project: Project) -> None:
        project.write()
        text = (project.root / "checked.yaml").read_text()
        text = text.replace("checked/banks", "other/banks").replace("checked/out", "other/out")
        (project.root / "another.yaml").write_text(text)
        assert [str(item) for item in project.check()] == [
            "checked.yaml:9: sources.loans.uri: is read by pipeline another as well, got "
            "'s3://landing/checked/loans/{partition}/'. What lands there must serve both."
        ]

    def test_another_pipeline_that_is_wrong_is_not_our_finding(self, project: Project) -> None:
        (project.root / "broken.yaml").write_text("task: [")
        (project.root / "folder.yaml").mkdir()
        (project.root / "dangling.yaml").symlink_to(project.root / "gone")
        assert project.told() == []


def test_a_pipeline_that_no_dag_file_declares(project: Project) -> None:
    (project.root / "checked.py").write_text(
        'from relevo.dags import declare\n\ndeclare("other")\n'
    )
    (told,) = project.told()
    assert told.startswith(
        f"warning checked.yaml:1: no file of {project.root.name}/ declares checked, so that "
        "Airflow does not show it. Write "
    )
    assert told.splitlines()[1:] == [
        '"""Chance that a loan defaults."""',
        "",
        "from relevo.dags import declare",
        "",
        'declare("checked")',
    ]


def test_findings_are_sorted_the_pipeline_file_first(
    project: Project,
) -> None:
    told = project.told(
        ("0 6 5 1,4,7,10 *", "0 6 5 1 *"),
        ("suite: checked_features", "suite: none_such"),
        code=MODULE.replace("(loans, banks)", "(loans)"),
    )
    assert [line.split(" ")[1].rstrip(":") for line in told] == [
        "checked.yaml:7",
        "checked.yaml:15",
        f"{project.module}.py:1",
    ]


class TestNext:
    NEXT = (
        "features: {",
        'next:\n  features: {function: "include.pipelines.MODULE:better", suite: checked_features, '
        "generation: 2}\n  sources:\n"
        '    banks: {uri: "s3://landing/checked/banks_2/{partition}/", suite: checked_loans, '
        "generation: 2}\nfeatures: {",
    )
    BETTER = f"{MODULE}\n\ndef better(loans, banks):\n    return loans\n"

    def edit(self, project: Project) -> tuple[str, str]:
        return self.NEXT[0], self.NEXT[1].replace("MODULE", project.module)

    def test_what_is_right_has_no_finding(self, project: Project) -> None:
        assert project.told(self.edit(project), code=self.BETTER) == []

    def test_what_it_names_is_checked_at_its_line(self, project: Project) -> None:
        old, new = self.edit(project)
        wrong = new.replace("suite: checked_features", "suite: nobodys")
        found = project.told((old, wrong), code=MODULE)
        assert [line.partition(": ")[0] for line in found] == ["error checked.yaml:16"] * 2
        assert "next.features.function: " in found[0]
        assert "next.features.suite: " in found[1]

    def test_a_function_must_take_the_same_sources(self, project: Project) -> None:
        code = f"{MODULE}\n\ndef better(loans):\n    return loans\n"
        (found,) = project.told(self.edit(project), code=code)
        assert "better(): its parameters must be the sources of features of checked.yaml" in found

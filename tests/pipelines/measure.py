"""Measure with plain scikit-learn what the platform should find (docs/pipelines.md).

python tests/pipelines/measure.py trips|rodents|credit
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

DATA = Path(__file__).parent.parent / "data"
SEED = 7


def trips() -> None:
    """Mean absolute error in minutes by quarter: never, or every quarter, trained again."""
    frame = pd.read_parquet(DATA / "nyc_taxi_2018_2020.parquet")
    begun = frame["pickup_datetime"].dt
    frame["minutes"] = (frame["dropoff_datetime"] - frame["pickup_datetime"]).dt.total_seconds()
    frame["minutes"] /= 60
    frame["hour"] = begun.hour + begun.minute / 60
    frame["weekday"] = begun.weekday
    frame["quarter"] = begun.to_period("Q").astype(str)
    frame = frame[frame["minutes"].between(0, 180, inclusive="right")]
    frame = frame[frame["trip_distance"].between(0, 100, inclusive="right")].copy()
    zones = ["pickup_location_id", "dropoff_location_id"]
    for zone in zones:  # the booster takes 255 categories: the rarest zones share one
        usual = frame[zone].value_counts().index[:250]
        frame[zone] = pd.Categorical(frame[zone].where(frame[zone].isin(usual), 0))
    columns = ["trip_distance", "hour", "weekday", "passenger_count", "vendor_id", *zones]

    def fit(rows: pd.DataFrame) -> Any:
        model = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=SEED)
        return model.fit(rows[columns], rows["minutes"])

    def error(model: Any, rows: pd.DataFrame) -> float:
        return float((model.predict(rows[columns]) - rows["minutes"]).abs().mean())

    quarters = dict(iter(frame.groupby("quarter")))
    names = sorted(quarters)
    static = fit(pd.concat([quarters["2018Q1"], quarters["2018Q2"]]))
    print("| quarter | static | trained on the quarter before |\n|---|---|---|")
    for before, name in pairwise(names[1:]):
        rows = quarters[name]
        print(f"| {name} | {error(static, rows):.2f} | {error(fit(quarters[before]), rows):.2f} |")


def rodents() -> None:
    """Accuracy and balanced accuracy by year: never, or every year, trained again."""
    frame = pd.read_parquet(DATA / "portal_rodents_1977_2002.parquet").dropna(subset="species_id")
    season = 2 * np.pi * frame["month"] / 12
    frame = frame.assign(sex=frame["sex"].fillna("missing"), sin=np.sin(season), cos=np.cos(season))
    numbers, codes = ["hindfoot_length", "weight", "sin", "cos"], ["sex", "plot_id"]

    def fit(years: Sequence[int]) -> Any:
        rows = frame[frame["year"].isin(years)]
        usual = rows["species_id"].value_counts()
        rows = rows[rows["species_id"].isin(usual.index[usual >= 10])]
        encode = make_column_transformer(
            (SimpleImputer(strategy="median", add_indicator=True), numbers),
            (OneHotEncoder(handle_unknown="ignore"), codes),
        )
        forest = RandomForestClassifier(
            200, min_samples_leaf=3, max_features=0.3, random_state=SEED
        )
        return make_pipeline(encode, forest).fit(rows, rows["species_id"])

    def judged(model: Any, rows: pd.DataFrame) -> str:
        named = model.predict(rows)
        share = accuracy_score(rows["species_id"], named)
        return f"{share:.3f} ({balanced_accuracy_score(rows['species_id'], named):.3f})"

    static = fit(range(1977, 1984))
    measured = ["hindfoot_length", "weight"]
    print("| year | static | measured animals only | trained on the six years before |")
    print("|---|---|---|---|")
    for year in (1984, 1986, 1990, 1995, 1996, 1997, 1999, 2002):
        rows = frame[frame["year"] == year]
        again = fit(range(year - 6, year))
        cells = (judged(static, rows), judged(static, rows.dropna(subset=measured)))
        print(f"| {year} | {' | '.join(cells)} | {judged(again, rows)} |")


def credit() -> None:
    """ROC AUC on a hundred random fifths, with the presets' parameters."""
    print("| rows | candidate | mean | standard deviation | least | most |")
    print("|---|---|---|---|---|---|")
    for what, frame in (("clean", _credits(drop=True)), ("all", _credits(drop=False))):
        for name, candidate in _credit_candidates().items():
            scores = _on_random_fifths(frame, candidate)
            print(
                f"| {what} ({len(frame)}) | {name} | {np.mean(scores):.3f} | {np.std(scores):.3f} "
                f"| {min(scores):.3f} | {max(scores):.3f} |",
                flush=True,
            )


def _credits(*, drop: bool) -> pd.DataFrame:
    """Read labelled credits; impossible codes take their row away, or are missing."""
    landed = pd.read_csv(DATA / "south_german_credit_dirty.csv", dtype=str, keep_default_na=False)
    landed = landed.drop(columns="mixed_type_col")
    frame = landed.apply(lambda cells: pd.to_numeric(cells.str.strip(), errors="coerce"))
    most = {"laufzeit": 120, "hoehe": 20_000, "alter": 100, "verw": 10, "kredit": 1}
    most |= dict.fromkeys(["sparkont", "beszeit"], 5)
    most |= dict.fromkeys(["buerge", "weitkred", "wohn"], 3)
    most |= dict.fromkeys(["pers", "telef", "gastarb"], 2)
    impossible = frame.gt(pd.Series({name: most.get(name, 4) for name in frame}))
    keys = (["laufzeit", "alter"], ["laufzeit", "beszeit", "verm"], ["alter", "beszeit", "verm"])
    copies = pd.Series(data=False, index=frame.index)
    for key in keys:
        told = frame[["hoehe", *key]].notna().all(axis=1)
        copies |= told & frame.duplicated(["hoehe", *key], keep=False)
    kept = frame.mask(impossible)[~copies]
    if drop:
        kept = kept[~impossible.any(axis=1)[kept.index]]
    return kept.dropna(subset="kredit").reset_index(drop=True)


def _credit_candidates() -> dict[str, Any]:
    names = ["verw", "buerge", "weitkred", "wohn"]
    numbers = [
        "hoehe", "monthly", "laufzeit", "rate", "laufkont", "sparkont", "moral", "bishkred",
        "alter", "beszeit", "beruf", "wohnzeit", "verm", "pers", "telef",
    ]  # fmt: skip
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encode = make_column_transformer(
        (scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), names)
    )
    forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=SEED)
    return {
        "logistic_regression": make_pipeline(encode, LogisticRegression(C=0.1, max_iter=1000)),
        "random_forest": make_pipeline(encode, forest),
    }


def _on_random_fifths(frame: pd.DataFrame, candidate: Any) -> list[float]:
    bad = (frame["kredit"] == 0).to_numpy()
    features = frame.assign(
        monthly=np.log(frame["hoehe"] / frame["laufzeit"]), hoehe=np.log(frame["hoehe"])
    )
    scores = []
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=20, random_state=SEED)
    for train, held_out in folds.split(features, bad):
        candidate.fit(features.iloc[train], bad[train])
        given = candidate.predict_proba(features.iloc[held_out])[:, 1]
        scores.append(float(roc_auc_score(bad[held_out], given)))
    return scores


if __name__ == "__main__":
    {"trips": trips, "rodents": rodents, "credit": credit}[sys.argv[1]]()

#!/usr/bin/env bash
# fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, numpy 2.4.6 (Python 3.11): an appended file has other labels.
#
# Each group of rows of a Parquet file has a dictionary of its own, and a categorical column is stored as places in it.
# fastparquet reads the places of all groups, and the words of the last one for all: "ant" and "bee" of the first rows
# are read as "bee" and "cat" where rows of these two were appended. Nothing is raised, by write(append=True), by a list
# of files or by pandas.read_parquet(engine="fastparquet"); the same file read by pyarrow is right, and so is each group
# of rows alone. pyarrow's own writer makes such files from frames with different categories. An issue of fastparquet
# (949) is open. Give each frame the same categories before it is written, or store words.
#
# What it prints: the labels of two frames, ant bee and bee cat, that were written one after the other.
#   fastparquet's file, by fastparquet: bee cat bee cat
#   by pandas: bee cat bee cat
#   by pyarrow: ant bee bee cat
#   by fastparquet, group by group: ant bee bee cat
#   pyarrow's file, by fastparquet: bee cat bee cat
#   pyarrow's two files, by fastparquet: bee cat bee cat
#   with the same categories, by fastparquet: ant bee bee cat
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1 fastparquet==2026.9.0

cd "$work"
cat >program.py <<'PROGRAM'
import fastparquet
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

frames = [pd.DataFrame({"label": pd.Categorical(words)}) for words in (["ant", "bee"], ["bee", "cat"])]
every = pd.CategoricalDtype(["ant", "bee", "cat"])


def words(frame):
    return " ".join(frame.label)


def append(name, parts):
    fastparquet.write(name, parts[0])
    fastparquet.write(name, parts[1], append=True)


append("appended.parquet", frames)
with pq.ParquetWriter("pyarrow.parquet", pa.Table.from_pandas(frames[0]).schema) as writer:
    for frame in frames:
        writer.write_table(pa.Table.from_pandas(frame))
names = ["first.parquet", "second.parquet"]
for name, frame in zip(names, frames, strict=True):
    frame.to_parquet(name, engine="pyarrow")

read = fastparquet.ParquetFile("appended.parquet")
print("fastparquet's file, by fastparquet:", words(read.to_pandas()))
print("by pandas:", words(pd.read_parquet("appended.parquet", engine="fastparquet")))
print("by pyarrow:", words(pd.read_parquet("appended.parquet", engine="pyarrow")))
print("by fastparquet, group by group:", *(words(group) for group in read.iter_row_groups()))
print("pyarrow's file, by fastparquet:", words(fastparquet.ParquetFile("pyarrow.parquet").to_pandas()))
print("pyarrow's two files, by fastparquet:", words(fastparquet.ParquetFile(names).to_pandas()))
append("same.parquet", [frame.astype(every) for frame in frames])
print("with the same categories, by fastparquet:", words(fastparquet.ParquetFile("same.parquet").to_pandas()))
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
fastparquet's file, by fastparquet: bee cat bee cat
by pandas: bee cat bee cat
by pyarrow: ant bee bee cat
by fastparquet, group by group: ant bee bee cat
pyarrow's file, by fastparquet: bee cat bee cat
pyarrow's two files, by fastparquet: bee cat bee cat
with the same categories, by fastparquet: ant bee bee cat
EXPECTED

#!/usr/bin/env bash
# rdkit 2026.9.1 (numpy 2.4.6, Python 3.11): with randomSeed=0 all conformers of a molecule are one and the same.
#
# EmbedMultipleConfs draws the k-th conformer from k times the seed. With the seed 0, which many a script has, that is 0
# for each of them: six conformers were asked for, six are there, and they are copies, of the first one of seed 1 at that.
# Other seeds share: the conformers of 84 are every other one of 42, and sets made with the seeds 1 to 10, to see how much
# depends on the draw, are mostly made of each other. So ensembles, averages over conformers and training data that was
# augmented by them are fewer than they look, and no count tells. Large primes as seeds do not share.
#
# What it prints: the conformers of each call, the same letter for the same coordinates.
#   seed 0: A A A A A A
#   seed 1: A B C D E F
#   seed 2: B D F G H I
#   seed 3: C F J I K L
#   seed 1000003: six others
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rdkit==2026.9.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import string

from rdkit import Chem
from rdkit.Chem import AllChem

molecule = Chem.AddHs(Chem.MolFromSmiles("CC(C)Cc1ccc(cc1)C(C)C(=O)NCCO"))
seen = []


def conformers(seed):
    made = Chem.Mol(molecule)
    names = AllChem.EmbedMultipleConfs(made, 6, randomSeed=seed)
    return [made.GetConformer(name).GetPositions().tobytes() for name in names]


for seed in range(4):
    drawn = conformers(seed)
    seen.extend(key for key in dict.fromkeys(drawn) if key not in seen)
    print(f"seed {seed}: {' '.join(string.ascii_uppercase[seen.index(key)] for key in drawn)}")
far = set(conformers(1000003))
print(f"seed 1000003: {'six others' if len(far) == 6 and not far & set(seen) else 'some of these'}")
PROGRAM
cmp - said <<'EXPECTED'
seed 0: A A A A A A
seed 1: A B C D E F
seed 2: B D F G H I
seed 3: C F J I K L
seed 1000003: six others
EXPECTED

"""The rules: what each one finds, why that breaks reproducibility, and what to write instead."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One kind of fault: the name that reports and comments have for it, and what to know about it."""

    id: str
    what: str
    why: str
    fix: str

    @property
    def docs(self) -> str:
        """Where the documentation has it."""
        return f"docs/audit.md#{self.id.lower()}"


_ALL = (
    Rule(
        "DET001",
        "an ignore comment that ignores nothing",
        "there is no rule of this name, so what the comment was to silence is reported, or never was",
        "name a rule of this page",
    ),
    Rule(
        "DET101",
        "a generator without a seed",
        "it starts from the operating system's entropy, and no global seed reaches it",
        "give it a seed, such as derive_seed(seed, 'augmentation')",
    ),
    Rule(
        "DET102",
        "seeding without a seed",
        "with nothing or None it takes the operating system's entropy, and undoes the seed before it",
        "give it a number, or leave it out",
    ),
    Rule(
        "DET103",
        "a torch.Generator that is never seeded",
        "it starts from the same fixed number each time, whatever the seed of the run",
        "call .manual_seed(...) on it, or take run.generator(name)",
    ),
    Rule(
        "DET104",
        "a seed that is another one in every run",
        "time, process ids, uuids, the system's entropy and the hash of a text differ from process to process",
        "take a number, or derive_seed(seed, name), which hashes a text alike in every process",
    ),
    Rule(
        "DET105",
        "the entropy of another library",
        "without this argument it draws from the operating system's entropy, and no global seed reaches it",
        "pass the argument",
    ),
    Rule(
        "DET201",
        "the order of a set is used",
        "texts hash differently in every process, other objects by their address, and a set has the order of hashes",
        "sort it where its order begins to matter: sorted(...); dict.fromkeys(...) keeps the first of each",
    ),
    Rule(
        "DET202",
        "the order of a directory is used",
        "a file system lists in an order of its own, which differs between machines and after a copy",
        "sort it: sorted(os.listdir(...)), sorted(path.glob(...))",
    ),
    Rule(
        "DET203",
        "the order in which work was done is used",
        "which thread or process is done first depends on the load of the machine",
        "take results in the order of the work: pool.map(...), or a loop over the futures themselves",
    ),
    Rule(
        "DET204",
        "a number or an order by hash()",
        "the hash of a text is another one in every process, and that of most objects is their address",
        "take a hash of what it says: zlib.crc32(text.encode()), derive_seed(0, text); sort by the text itself",
    ),
    Rule(
        "DET301",
        "PYTHONHASHSEED set in a running program",
        "Python reads it when it starts: hashes and the order of sets stay in this process as they are",
        "set it before Python starts, as `deterministic run` does",
    ),
    Rule(
        "DET302",
        "a malformed CUBLAS_WORKSPACE_CONFIG",
        "it is read as :SIZE:COUNT, and anything else is passed over, so products may differ from run to run",
        "write :4096:8 or :16:8, with the colon in front",
    ),
    Rule(
        "DET303",
        "cudnn.benchmark switched on",
        "cuDNN then measures which algorithm is fastest, and another one, with other bits, may win in the next run",
        "leave it off where bits matter; reproducible() does so, and gives it back",
    ),
    Rule(
        "DET304",
        "a test that leaves deterministic algorithms on",
        "the flag belongs to the process: later tests run with it, and pass or fail by it",
        "use reproducible(), which gives it back, or switch it off in the same file",
    ),
    Rule(
        "DET401",
        "a generator that a dataset makes once and its samples draw from",
        "each worker has a copy in the same state: other workers draw the same numbers, every epoch has them again, "
        "and num_workers decides which sample gets which",
        "use make_loader, which reaches it, or sample_rng() in __getitem__",
    ),
    Rule(
        "DET402",
        "a worker_init_fn that seeds every epoch alike",
        "workers start anew for each epoch, so each one has the augmentations of the first",
        "leave it out: PyTorch seeds random, numpy and torch in each worker; or take torch.initial_seed()",
    ),
)

RULES = {rule.id: rule for rule in _ALL}
"""Every rule by its id; the hundreds are generators and seeds, orders, settings, loaders."""

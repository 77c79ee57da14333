"""Snippets of source: under each rule what it must find, and what looks like it and must not be found."""

from __future__ import annotations

IMPORTS = """\
import argparse, concurrent.futures, datetime, glob, hashlib, multiprocessing, os, random, time, uuid
from concurrent import futures
from pathlib import Path
import numpy
import numpy as np
import torch
from numpy.random import default_rng as make_rng
from torch.utils.data import DataLoader, Dataset
"""

FOUND: dict[str, list[str]] = {
    "DET101": [
        "rng = np.random.default_rng()",
        "rng = make_rng(None)",
        "rng = numpy.random.RandomState(seed=None)",
        "bits = np.random.Generator(np.random.PCG64())",
        "sequence = np.random.SeedSequence()",
        "rng = random.Random()",
        "from random import Random as R\nrng = R()",
        "make = np.random.default_rng\nrng = make()",
        "class A:\n    def __init__(self):\n        self.rng = np.random.RandomState()",
        "def f(rng=np.random.default_rng()):\n    return rng.random()",
        "rng = np.random.default_rng()\nclass A:\n    def __init__(self):\n        self.rng = np.random.default_rng(0)",
        "try:\n    import numpy.random as r\nexcept ImportError:\n    import numpy.random as r\nr.default_rng()",
        "if history is not None:\n    rng = np.random.default_rng()",
    ],
    "DET102": [
        "random.seed()",
        "np.random.seed(None)",
        "torch.seed()",
        "torch.cuda.seed_all()",
        "torch.Generator().seed()",
        "g = torch.Generator()\ng.seed()",
        "torch.default_generator.seed()",
        "torch.cuda.default_generators[0].seed()",
    ],
    "DET103": [
        "g = torch.Generator()\nx = torch.rand(3, generator=g)",
        "loader = DataLoader(data, shuffle=True, generator=torch.Generator(device='cpu'))",
    ],
    "DET104": [
        "torch.manual_seed(int(time.time()))",
        "random.seed(os.getpid())",
        "from time import time as now\nnp.random.seed(int(now()) % 2**32)",
        "generator = torch.Generator().manual_seed(uuid.uuid4().int % 2**32)",
        "seed = int.from_bytes(os.urandom(4), 'big')",
        "name = 'train'\nrng = np.random.default_rng(abs(hash('train')))",
        "rng = random.Random(hash(f'{a}-{b}'))",
        "rng = random.Random(hash((str(path), 3)))",
        "now = datetime.datetime.now()\nmodel = Forest(random_state=int(time.time_ns() % 1000))",
        "class A:\n    def reset(self):\n        self.seed = time.time_ns()",
        "part_seed = seed + hash((task, set_name)) % 1000",
        "if state is None:\n    part_seed = hash((task, set_name))",
    ],
    "DET105": [
        "from scipy.sparse.linalg import eigsh\nvalues, vectors = eigsh(matrix, k=3)",
        "from scipy.sparse.linalg import eigsh\nvalues, vectors = eigsh(matrix, k=3, v0=start)",
        "from scipy.sparse.linalg import svds\nu, s, v = svds(matrix, 3, v0=start)",
        "import scipy.sparse.linalg as sla\nu, s, v = sla.svds(matrix)",
        "from scipy.stats import qmc\nsampler = qmc.Sobol(d=2)",
        "from scipy.stats import qmc\nsampler = qmc.Sobol(2, scramble=True)",
        "from scipy.stats.qmc import LatinHypercube\nsampler = LatinHypercube(2)",
        "import optuna\nstudy = optuna.create_study(direction='maximize')",
        "import optuna\nstudy = optuna.create_study(sampler=optuna.samplers.TPESampler())",
        "import umap\nprojected = umap.UMAP(n_neighbors=5).fit_transform(data)",
        "import gymnasium as gym\nenv = gym.make('CartPole-v1')\nenv.reset(seed=None)\nenv.reset(options={})",
        "from scipy.stats import qmc\nsampler = qmc.LatinHypercube(2, scramble=False)",
        "from datasets import interleave_datasets\nrows = interleave_datasets([a, b], [0.5, 0.5], None)",
        "import albumentations as A\ntransform = A.Compose([A.HorizontalFlip()])",
        "import gymnasium as gym\nenv = gym.make('CartPole-v1')\nstate, _ = env.reset()",
        "import webdataset as wds\nsamples = wds.WebDataset(url).decode().shuffle(100)",
        "from webdataset import shuffle\nstage = shuffle(100)",
        "from datasets import load_dataset\nrows = load_dataset('x', streaming=True)\nmixed = rows.map(f).shuffle()",
        "from datasets import interleave_datasets\nrows = interleave_datasets([a, b], probabilities=[0.5, 0.5])",
    ],
    "DET201": [
        "classes = list(set(labels))\nfor i, name in enumerate(classes):\n    index[name] = i",
        "out = []\nfor name in {'a', 'b'}:\n    out.append(name)",
        "def f(words):\n    for word in set(words):\n        yield word",
        "index = {word: i for i, word in enumerate(set(words))}",
        "for i, word in enumerate(frozenset(words)):\n    index[word] = i",
        "def f(a, b):\n    left = set(a) - set(b)\n    return [name for name in left]",
        "first = next(iter(set(words)))",
        "def f(words):\n    return [*{word.lower() for word in words}]",
        "class A:\n    def __init__(self, words):\n        self.words = tuple(set(words))",
        "x = np.array(list(set(words).union(others)))",
        "import pytest\n@pytest.mark.parametrize('name', {'a', 'b'})\ndef test_it(name): ...",
        "seen = set()\nfor word in words:\n    seen.add(word.lower())\nx = np.array(list(seen))",
        "def f(words):\n    seen = set()\n    seen.update(words)\n    for word in seen:\n        yield word",
        "seen = set()\nfor words in texts:\n    seen |= set(words)\nindex = {w: i for i, w in enumerate(seen)}",
        "def f(texts):\n    seen = set()\n    for t in texts:\n        seen = seen.union(t)\n    return list(seen)",
        "def f(words):\n    index = {}\n    for w in set(words):\n        index[w] = len(index)\n    return index",
        "next_one = 0\nfor word in set(words):\n    table[word] = next_one\n    next_one += 1",
        "class A:\n    def __init__(self, words):\n        self.words = set(words)\n"
        "        self.index = {w: i for i, w in enumerate(self.words)}",
        "class A:\n    def __init__(self):\n        self.words = set()\n    def add(self, text):\n"
        "        self.words.update(text)\n    def table(self):\n        return list(self.words)",
        "def f(words):\n    found = list(set(words))\n    if len(found) > 0:\n        return found[0]",
        "def f(words):\n    return len(words), list(set(words))",
        "def f(words):\n    return len(words), list(set(words))\nn, names = f(words)\nx = np.array(names)",
        "column = dict(zip(set(words), range(9)))",
        "settings['words'] = list(set(words))",
    ],
    "DET202": [
        "class D(Dataset):\n    def __init__(self, root):\n        self.files = os.listdir(root)",
        "paths = []\nfor path in glob.glob('*.png'):\n    paths.append(path)\nx = np.array(paths)",
        "files = [os.path.join(root, name) for name in os.listdir(root)]\nfirst = files[0]",
        "def f(root):\n    return [p for p in Path(root).glob('*.png') if p.is_file()]",
        "def f(root):\n    for path in root.iterdir():\n        yield path",
        "def f(root):\n    out = []\n    for folder, _, names in os.walk(root):\n        for name in names:\n"
        "            out.append(name)\n    return out",
        "from glob import glob as g\nfor i, path in enumerate(g('*')):\n    labels[path] = i",
        "def names():\n    return [n for n in os.listdir('.')]\nout = []\nfor n in names():\n    out.append(n)",
        "def below(root):\n    out = []\n    for name in os.listdir(root):\n        if os.path.isdir(name):\n"
        "            out = out + below(name)\n        out.append(name)\n    return out",
        "columns = {'id': []}\nfor path in Path(root).glob('*.wav'):\n    columns['id'].append(path.stem)",
        "def parts(root):\n    for path in root.iterdir():\n        yield path\npack('all.zip', parts(root))",
    ],
    "DET203": [
        "results = []\nfor f in concurrent.futures.as_completed(jobs):\n    results.append(f.result())\n"
        "x = np.array(results)",
        "def f(jobs):\n    return [job.result() for job in futures.as_completed(jobs)]",
        "import pandas as pd\nframes = []\nfor f in futures.as_completed(jobs):\n    frames.append(f.result())\n"
        "def table():\n    return pd.concat(frames)",
        "pool = multiprocessing.Pool()\nresults = list(pool.imap_unordered(work, items))",
        "from tqdm import tqdm\ndef f(pool):\n    for x in tqdm(pool.imap_unordered(g, items)):\n        yield x",
        "for job, name in zip(futures.as_completed(jobs), names):\n    table[name] = job.result()",
    ],
    "DET204": [
        "is_held_out = hash(path.name) % 10 == 0",
        "buckets = [abs(hash(word)) % 1000 for word in words]",
        "def shard(name):\n    return (hash(name) & mask) % shards",
        "names.sort(key=hash)",
        "x = sorted(names, key=lambda name: hash((name, salt)))",
        "first = min(names, key=hash)",
    ],
    "DET301": [
        "os.environ['PYTHONHASHSEED'] = '0'",
        "os.environ.setdefault('PYTHONHASHSEED', str(seed))",
        "from os import environ\nenviron.update(PYTHONHASHSEED='0')",
        "os.putenv('PYTHONHASHSEED', '0')",
        "os.environ.update({'PYTHONHASHSEED': '0'})",
    ],
    "DET302": [
        "os.environ['CUBLAS_WORKSPACE_CONFIG'] = '4096:8'",
        "os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096')",
        "env = {'CUBLAS_WORKSPACE_CONFIG': ':4096,8'}",
        "os.environ.update(CUBLAS_WORKSPACE_CONFIG='1')",
    ],
    "DET303": [
        "torch.backends.cudnn.benchmark = True",
        "import torch.backends.cudnn as cudnn\ncudnn.benchmark = True",
        "from torch.backends import cudnn\nif torch.cuda.is_available():\n    cudnn.benchmark = True",
    ],
    "DET304": [
        "def test_it():\n    torch.use_deterministic_algorithms(True)\n    assert train()",
    ],
    "DET401": [
        "class D(Dataset):\n    def __init__(self):\n        self.rng = np.random.default_rng(0)\n"
        "    def __getitem__(self, index):\n        return self.rng.random()",
        "class D(torch.utils.data.Dataset[int]):\n    def __init__(self, seed):\n"
        "        self.g = torch.Generator().manual_seed(seed)\n    def draw(self):\n"
        "        return torch.rand(1, generator=self.g)\n    def __getitem__(self, index):\n        return self.draw()",
    ],
    "DET402": [
        "loader = DataLoader(d, num_workers=2, worker_init_fn=lambda i: np.random.seed(i))",
        "SEED = 3\ndef init(worker_id):\n    np.random.seed(SEED + worker_id)\n    random.seed(SEED)\n"
        "loader = DataLoader(d, num_workers=2, worker_init_fn=init)",
        "def init(worker):\n    torch.manual_seed(args.seed + worker)\n"
        "DataLoader(d, num_workers=n, worker_init_fn=init)",
        "def init(worker):\n    random.seed(args.seed + worker)\nDataLoader(data, worker_init_fn=init, **options)",
    ],
}

NOT_FOUND: dict[str, list[str]] = {
    "DET101": [
        "rng = np.random.default_rng(0)",
        "rng = np.random.default_rng(seed)",
        "rng = np.random.RandomState(seed=seed)",
        "rng = np.random.default_rng(**options)",
        "rng = np.random.default_rng(*arguments)",
        "if rng is None:\n    rng = np.random.default_rng()",
        "rng = rng or np.random.default_rng()",
        "if rng is not None:\n    rng = as_generator(rng)\nelse:\n    rng = np.random.default_rng()",
        "if rng in (None, 'auto'):\n    rng = np.random.default_rng()",
        "rng = random.Random() if seed is None else random.Random(seed)",
        "rng = random.Random()\nrng.seed(3)",
        "class A:\n    def __init__(self):\n        self.rng = random.Random()\n    def reset(self, s):\n"
        "        self.rng = random.Random(s)",
        "def default_rng(): ...\nrng = default_rng()",
        "def f(np):\n    return np.random.default_rng()",
        "from mine import np as numpy_like\nclass random:\n    Random = dict\nx = random.Random()",
        "from .random import Random\nrng = Random()",
        "make = np.random.default_rng",
        "bits = np.random.Philox(key=[1, 2])",
        "bits = np.random.MT19937()\nbits.state = state",
        "np.random.RandomState().seed(7)",
    ],
    "DET102": [
        "random.seed(0)",
        "np.random.seed(seed)",
        "env.seed()",
        "if seed is None:\n    seed = torch.default_generator.seed()",
        "def seed(): ...\nseed()",
        "torch.manual_seed(0)",
    ],
    "DET103": [
        "g = torch.Generator()\ng.manual_seed(0)\nx = torch.rand(3, generator=g)",
        "g = torch.Generator().manual_seed(0)",
        "def make():\n    return torch.Generator()",
        "class A:\n    def __init__(self):\n        self.g = torch.Generator()",
        "g = torch.Generator()\nseed(g)\nx = torch.rand(3, generator=g)",
        "g = torch.Generator()\ng.set_state(state)\nx = torch.rand(3, generator=g)",
    ],
    "DET104": [
        "started = time.time()\ntorch.manual_seed(0)",
        "rng = random.Random(hash((3, rank)))",
        "rng = random.Random(int(hashlib.sha256(b'a').hexdigest(), 16))",
        "def f(seed=None):\n    if seed is None:\n        seed = int(time.time())\n    return seed",
        "def time(): ...\nseed = time()",
        "seeds_taken = time.time()",
        "identity = uuid.uuid4()",
    ],
    "DET105": [
        "from scipy.sparse.linalg import eigsh\nvalues, vectors = eigsh(matrix, k=3, v0=start, rng=0)",
        "from scipy.sparse.linalg import svds\nu, s, v = svds(matrix, random_state=0)",
        "from scipy.stats import qmc\nsampler = qmc.Sobol(d=2, scramble=False)",
        "from scipy.stats import qmc\nsampler = qmc.Halton(d=2, seed=0)",
        "import optuna\nstudy = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))",
        "import umap\nprojected = umap.UMAP(random_state=0)",
        "import gymnasium as gym\nenv = gym.make('CartPole-v1')\nenv.reset(seed=0)\nenv.reset()",
        "import gymnasium as gym\nenv = gym.make('CartPole-v1')\nenv.reset(options={}, seed=seed)",
        "import gymnasium as gym\nenv = gym.make('CartPole-v1')\nenv.reset(**arguments)",
        "tracker.reset()",
        "import webdataset as wds\nsamples = wds.WebDataset(url).shuffle(100, seed=3)",
        "from datasets import load_dataset\nrows = load_dataset('x', streaming=True).shuffle(42)",
        "from datasets import load_dataset\nrows = load_dataset('x').shuffle()",
        "from datasets import interleave_datasets\nrows = interleave_datasets([a, b])",
        "from datasets import interleave_datasets\nrows = interleave_datasets([a, b], None)",
        "from datasets import interleave_datasets\nrows = interleave_datasets([a, b], probabilities=None, seed=None)",
        "import webdataset as wds\nsamples = wds.WebDataset(url).shuffle(0)",
        "import optuna\nstudy = optuna.create_study(sampler=optuna.samplers.RandomSampler(3))",
        "random.shuffle(rows)\nrows.shuffle()",
        "rows = rows.map(f)\nrows.shuffle()",
    ],
    "DET201": [
        "for name in sorted({'a', 'b'}):\n    out.append(name)",
        "x = sorted(list(set(words)))",
        "names = list(set(words))\nnames.sort()\nx = np.array(names)",
        "names = [w for w in set(words)]\nprint(len(names), max(names), 'a' in names)",
        "total = sum(len(w) for w in set(words))",
        "if any(w.startswith('a') for w in set(words)): pass",
        "lengths = {w: len(w) for w in set(words)}",
        "upper = {w.upper() for w in set(words)}",
        "for name in set(words):\n    table[name] = 0",
        "for number in {1, 2, 3}:\n    out.append(number)",
        "x = np.array(list(set(range(10))))",
        "x = np.array(list({len(w) for w in words}))",
        "x = np.array(list(set(token_ids)))",
        "found = {'a': 1, 'b': 2}\nx = [name for name in found]",
        "from mine import set\nx = np.array(list(set(words)))",
        "def f(words):\n    words = set(words)\n    words = sorted(words)\n    return [w for w in words]",
        "def f(words):\n    found = set(words)\n    if len(found) == 1:\n        return next(iter(found))",
        "def f(words):\n    raise ValueError(f'unknown: {[w for w in set(words)]}')",
        "missing = []\nfor w in set(words):\n    missing.append(w)\nif missing:\n    raise ValueError(str(missing))",
        "def f(words):\n    out = []\n    for w in set(words):\n        out.append(w)\n    return sorted(out)",
        "__all__ = list(set(names))",
        "seen = set()\nfor i in range(3):\n    seen.add(i)\nx = np.array(list(seen))",
        "seen = set()\nseen.update(range(3))\nx = np.array(list(seen))",
        "seen = set()\nfor word in words:\n    if word not in seen:\n        seen.add(word)\n        out.append(word)",
        "for pair in {(0, 1), (-2, 0)}:\n    out.append(pair)",
        "class A:\n    def __dir__(self):\n        return list(set(names))",
        "seen = set()\nseen |= set(range(3))\nseen |= {1}\nx = np.array(list(seen))",
        "seen = set()\nfor n in range(3):\n    seen = seen.union({n})\nx = np.array(list(seen))",
        "ids = set(range(3))\nids = set(ids)\nx = np.array(list(ids))",
        "for word in set(words):\n    count = 0\n    for letter in word:\n        count += 1\n    table[word] = count",
        "class A:\n    def __init__(self, words):\n        self.words = set(words)\n        self.words = words\n"
        "    def f(self):\n        return [word for word in self.words]",
        "class A:\n    def __init__(self):\n        self.sizes = set()\n    def f(self, text):\n"
        "        self.sizes.add(len(text))\n        return list(self.sizes)",
        "class A:\n    def __init__(self, words):\n        self.words, self.n = set(words), 3\n"
        "    def f(self):\n        return [word for word in self.words]",
        "found = [row['image_id'] for row in rows]\nx = np.array(list(set(found)))",
        "same = set(find_value_ids(labels, 3))\nx = np.array(list(same - {0}))",
        "settings['words'] = list(set(words))\nsettings['words'].sort()",
        "for on_gpu in {False, torch.cuda.is_available()}:\n    out.append(on_gpu)",
        "def f(model):\n    return next(iter({part.device for part in model.parameters()}))",
        "def f(words):\n    unknown = set(words) - known\n    if len(unknown) > 0:\n"
        "        raise ValueError('unknown: %s' % next(iter(unknown)))",
        "x = np.array(list(frozenset(np.arange(9)) - frozenset(taken)))",
        "def f(words):\n    return len(words), list(set(words))\nn, names = f(words)\nprint(n, sorted(names))",
    ],
    "DET202": [
        "files = sorted(os.listdir(root))\nx = np.array(files)",
        "files = os.listdir(root)\nfiles.sort()\nx = np.array(files)",
        "files = glob.glob('*')\nfiles = sorted(name[:-4] for name in files)\nx = np.array(files)",
        "for name in os.listdir(root):\n    os.remove(name)",
        "if name in os.listdir(root): pass",
        "count = len(glob.glob('*.png'))",
        "empty = not any(Path(root).iterdir())",
        "newest = max(glob.glob('*.pt'), key=os.path.getmtime)",
        "def f():\n    found = glob.glob('*.pt')\n    return max(found) if found else ''",
        "class A:\n    def glob(self, root):\n        yield from Path(root).glob('*')\n"
        "for p in fs.glob('*'): out.append(p)",
        "def f(root):\n    return os.listdir(root)",
        "def names():\n    return [n for n in os.listdir('.')]\nfor n in sorted(names()):\n    out.append(n)",
        "class D(Dataset):\n    def __init__(self, root):\n        self.files = os.listdir(root)\n"
        "        self.files.sort()",
        "def f(root):\n    for folder, _, names in os.walk(root):\n        for name in sorted(names):\n"
        "            yield name",
        "x = [p for p in storage.glob('*')]\ny = x[0]",
        "def parts(root):\n    for path in root.iterdir():\n        yield path\nfor path in sorted(parts(root)):\n"
        "    out.append(path)",
        "def parts(root):\n    for path in root.iterdir():\n        yield path.stem, path\ntable = dict(parts(root))",
        "def f(root):\n    files = list(root.iterdir())\n    n = len(files)\n    return files[0] if n == 1 else root",
    ],
    "DET203": [
        "for f in futures.as_completed(jobs):\n    results[jobs[f]] = f.result()",
        "total = max(f.result() for f in futures.as_completed(jobs))",
        "out = []\nfor f in futures.as_completed(jobs):\n    out.append(f.result())\nx = np.array(sorted(out))",
        "results = list(pool.imap(work, items))",
        "rows, done = [], []\nfor at, row in pool.imap_unordered(work, items):\n    done.append((at, row))\n"
        "    rows.append(None)\nfor at, row in done:\n    rows[at] = row\nx = np.array(rows)",
    ],
    "DET204": [
        "key = hash(text)",
        "class A:\n    def __hash__(self):\n        return hash(self.name) % 2**32",
        "shard = hash(index) % shards",
        "shard = hash((3, len(text))) % shards",
        "from zlib import crc32 as hash\nshard = hash(name) % 10",
        "x = sorted(names, key=len)",
        "if hash(a) == hash(b): pass",
        "message = 'of %s' % hash(name)",
        "assert sorted(a, key=hash) == sorted(b, key=hash)",
    ],
    "DET301": [
        "os.environ['PYTHONHASHSEED'] = '0'\nos.execv(executable, arguments)",
        "subprocess.run(command, env={**os.environ, 'PYTHONHASHSEED': '0'})",
        "value = os.environ['PYTHONHASHSEED']",
        "del os.environ['PYTHONHASHSEED']",
        "def f():\n    os.environ['PYTHONHASHSEED'] = '0'\n    run(command)\n    del os.environ['PYTHONHASHSEED']",
    ],
    "DET302": [
        "os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'",
        "os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':16:8:4096:2'",
        "os.environ['CUBLAS_WORKSPACE_CONFIG'] = value",
        "os.environ['CUBLAS_WORKSPACE_CONFIG'] = ''",
    ],
    "DET303": [
        "torch.backends.cudnn.benchmark = False",
        "torch.backends.cudnn.benchmark = not deterministic",
        "if not args.deterministic:\n    torch.backends.cudnn.benchmark = True",
        "self.benchmark = True",
        "if options.cudnn_benchmark:\n    torch.backends.cudnn.benchmark = True",
        "if options.get('cudnn_benchmark'):\n    torch.backends.cudnn.benchmark = True",
        "if reproducibility:\n    seed()\nelse:\n    torch.backends.cudnn.benchmark = True",
    ],
    "DET304": [
        "def test_it():\n    torch.use_deterministic_algorithms(True)\n    try:\n        train()\n    finally:\n"
        "        torch.use_deterministic_algorithms(False)",
        "def train():\n    torch.use_deterministic_algorithms(True)",
    ],
    "DET401": [
        "class D(Dataset):\n    def __init__(self):\n        self.rng = np.random.default_rng(0)\n"
        "        self.order = self.rng.permutation(10)\n    def __getitem__(self, index):\n"
        "        return self.order[index]",
        "class D(Dataset):\n    def __init__(self):\n        self.rng = random.Random(0)\n"
        "    def __getitem__(self, index):\n        self.rng.seed(index)\n        return self.rng.random()",
        "class Model(Module):\n    def __init__(self):\n        self.rng = np.random.default_rng(0)\n"
        "    def __getitem__(self, index):\n        return self.rng.random()",
    ],
    "DET402": [
        "def init(worker):\n    np.random.seed(torch.initial_seed() % 2**32)\n"
        "DataLoader(d, num_workers=2, worker_init_fn=init)",
        "def init(worker):\n    seed = torch.initial_seed() % 2**32\n    random.seed(seed)\n"
        "DataLoader(d, num_workers=2, worker_init_fn=init)",
        "def init(worker):\n    np.random.seed(3 + epoch * 10 + worker)\n"
        "DataLoader(d, num_workers=2, worker_init_fn=init)",
        "for epoch in range(3):\n"
        "    DataLoader(d, num_workers=2, worker_init_fn=lambda i: np.random.seed(epoch * 10 + i))",
        "DataLoader(d, num_workers=2, worker_init_fn=lambda i: np.random.seed(i), persistent_workers=True)",
        "DataLoader(d, num_workers=0, worker_init_fn=lambda i: np.random.seed(i))",
        "DataLoader(data, worker_init_fn=lambda i: np.random.seed(i))",
        "DataLoader(data, num_workers=4)",
        "DataLoader(data, num_workers=4, shuffle=True)",
    ],
}

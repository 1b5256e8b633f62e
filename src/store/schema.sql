-- schema_version; shard, which part of a run this is and how many results it has when it is complete,
-- JSON; whole, the command of the run that it is a part of; command, the one that the run was begun with; items/<variant>/<task>, how many
-- items are to be run; selftest/<variant>, what the self-test found before it, JSON.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The models of the run, each under one set of settings.
CREATE TABLE variants (
    variant INTEGER PRIMARY KEY,
    label   TEXT NOT NULL UNIQUE, -- what tells it apart from the others
    spec    TEXT NOT NULL         -- everything its results depend on, JSON
) STRICT;

-- One row for each time the program worked on the run.
CREATE TABLE sessions (
    session  INTEGER PRIMARY KEY,
    started  TEXT NOT NULL, -- UTC, ISO 8601
    revision TEXT NOT NULL, -- of the program
    host     TEXT NOT NULL, -- the processor's architecture
    -- What it computed in all: rows times layers; of which only keys and values; results that
    -- were computed whole although a part should have done, and why the first of them was.
    layer_rows INTEGER NOT NULL DEFAULT 0,
    cache_rows INTEGER NOT NULL DEFAULT 0,
    fallbacks  INTEGER NOT NULL DEFAULT 0,
    reason     TEXT,
    -- Nobody else's session has the same, in whichever run.
    token      TEXT,
    -- The machine: its name, its processor, what computes, threads.
    machine    TEXT,
    processor  TEXT,
    backend    TEXT,
    threads    INTEGER
) STRICT;

CREATE TABLE noise_floor (
    variant        INTEGER NOT NULL REFERENCES variants,
    shape          TEXT NOT NULL,
    prompts        INTEGER NOT NULL,
    max_logit      REAL NOT NULL,
    mean_kl        REAL NOT NULL, -- nats
    max_kl         REAL NOT NULL, -- nats
    argmax_changes INTEGER NOT NULL,
    PRIMARY KEY (variant, shape)
) STRICT, WITHOUT ROWID;

CREATE TABLE cells (
    cell         INTEGER PRIMARY KEY,
    variant      INTEGER NOT NULL REFERENCES variants,
    task         TEXT NOT NULL,
    manipulation TEXT NOT NULL, -- 'clean', or 'clean-again' in another batch shape
    parameters   TEXT NOT NULL, -- those that are not the manipulation's defaults, a JSON object
    layer        INTEGER,       -- NULL for clean runs
    seed         INTEGER,       -- NULL where the manipulation has none
    UNIQUE (variant, task, manipulation, parameters, layer, seed)
) STRICT;

-- Tensors of the graph that a cell wrote to, with rows written for the first item.
CREATE TABLE touched (
    cell   INTEGER NOT NULL REFERENCES cells,
    tensor TEXT NOT NULL,
    rows   INTEGER NOT NULL,
    PRIMARY KEY (cell, tensor)
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    item            INTEGER PRIMARY KEY,
    variant         INTEGER NOT NULL REFERENCES variants,
    task            TEXT NOT NULL,
    name            TEXT NOT NULL,
    prompt          TEXT NOT NULL,
    prompt_sha256   TEXT NOT NULL,
    answer          TEXT NOT NULL,
    donor           TEXT, -- prompt that inject takes states from
    modified_answer TEXT, -- right if the model believes the donor
    cut             INTEGER NOT NULL, -- whether the text was cut to fit the context
    UNIQUE (variant, task, name)
) STRICT;

CREATE TABLE left_out (
    variant INTEGER NOT NULL REFERENCES variants,
    task    TEXT NOT NULL,
    name    TEXT NOT NULL,
    what    TEXT NOT NULL, -- 'item', or the manipulation that leaves it out
    reason  TEXT NOT NULL,
    PRIMARY KEY (variant, task, name, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
    item             INTEGER NOT NULL REFERENCES items,
    cell             INTEGER NOT NULL REFERENCES cells,
    score            REAL NOT NULL, -- the task's metric, 0 to 1
    correct          INTEGER NOT NULL, -- right to the letter, after normalization
    metrics          TEXT NOT NULL, -- all metrics, a JSON object
    agrees           INTEGER NOT NULL, -- whether the answer is the clean run's
    answer           TEXT NOT NULL, -- generated, or the likeliest next token
    logprob          REAL NOT NULL, -- of the whole answer, nats
    rank             INTEGER NOT NULL, -- of the answer's first token, 1 is the likeliest
    kl               REAL NOT NULL, -- from the clean next-token distribution, nats
    argmax           INTEGER NOT NULL, -- token id
    argmax_text      TEXT NOT NULL,
    modified_correct INTEGER,
    modified_logprob REAL,
    session          INTEGER REFERENCES sessions, -- in which it was computed
    PRIMARY KEY (item, cell)
) STRICT, WITHOUT ROWID;

"""Files with one mistake each: what is written, the key that is blamed, and the sentence that must be said.

Long because it is one table.
"""

from gateway.tenancy.tenants import hash_key

HASH = hash_key("agw-one")
OTHER = hash_key("agw-two")

P = "providers: {p: {dialect: openai, base_url: 'https://p.example/v1'%s}}\n"
A = "providers: {p: {dialect: anthropic, base_url: %s}}\n"
U = "providers: {p: {dialect: openai, base_url: %s}}\n"
M = P % "" + "models: {m: {targets: [%s], price: {input: 1, output: 1}%s}}\n"
T = "tenants: [{id: a, keys: [{id: k, hash: '%s'%s}]%s}]\n"
B = "tenants: [{id: a, budget: %s}]\n"

BAD: dict[str, tuple[str, str, str]] = {
    # the listening side
    "an unknown section": ("serverr: {}", "serverr", "is not a key of this section. Did you mean server?"),
    "a section that is a word": ("server: here", "server", "must be a mapping; found 'here'."),
    "a typo": ("server: {prot: 1}", "server.prot", "Did you mean port?"),
    "an unknown key": ("server: {zzz: 1}", "server.zzz", "Allowed here: host, port, deadline_s"),
    "a port beyond": (
        "server: {port: 99999}",
        "server.port",
        "must be a whole number from 0 to 65535; found 99999.",
    ),
    "a port that is a switch": (
        "server: {port: true}",
        "server.port",
        "must be a number, not true or false; found true.",
    ),
    "a port in words": ("server: {port: http}", "server.port", "found 'http'."),
    "no time": (
        "server: {deadline_s: 0}",
        "server.deadline_s",
        "must be a number above 0 and at most 86400; found 0.",
    ),
    "endless time": ("server: {keepalive_s: .inf}", "server.keepalive_s", "found '.inf'."),
    "a level": (
        "server: {log_level: warn}",
        "server.log_level",
        "must be debug or info or warning or error; found 'warn'. Did you mean warning?",
    ),
    "a switch": ("server: {access_log: maybe}", "server.access_log", "must be true or false; found 'maybe'."),
    "an empty host": ("server: {host: ''}", "server.host", "must be text of 1 to 253 characters; found ''."),
    "a token with a space": (
        "ops: {metrics_token: my token}",
        "ops.metrics_token",
        "must be printable ASCII without spaces; found a value that is not shown here",
    ),
    "a list for a word": ("server: {host: [a]}", "server.host", "found a list."),
    "nobody in flight": (
        "server: {max_in_flight: 0}",
        "server.max_in_flight",
        "must be a whole number from 1 to 1000000; found 0.",
    ),
    "a queue of less than nobody": ("server: {max_queued: -1}", "server.max_queued", "from 0 to 1000000; found -1."),
    "a queue without end": ("server: {queue_s: 1e9}", "server.queue_s", "at most 86400; found 1000000000.0."),
    "a drain backwards": (
        "server: {drain_s: -1}",
        "server.drain_s",
        "must be a number from 0 to 86400; found -1.",
    ),
    "a drain in words": ("server: {drain_s: never}", "server.drain_s", "from 0 to 86400; found 'never'."),
    "a grace that is a switch": (
        "server: {ready_grace_s: false}",
        "server.ready_grace_s",
        "must be a number, not true or false; found false.",
    ),
    "a grace beyond the drain": (
        "server: {ready_grace_s: 30, drain_s: 20}",
        "server.ready_grace_s",
        "must be at most drain_s, 20, which begins at the same moment; found 30.",
    ),
    # providers
    "a provider's name": (
        "providers: {Open AI: {dialect: openai, base_url: https://x.example}}",
        "providers.Open AI",
        "this name must be 1 to 64 lower-case letters",
    ),
    "a provider without anything": (
        "providers: {p: {base_url: https://x.example}}",
        "providers.p.dialect",
        "is missing: write openai or anthropic.",
    ),
    "no address": (
        "providers: {p: {dialect: openai}}",
        "providers.p.base_url",
        "is missing: write text. Where it answers",
    ),
    "a dialect": (
        "providers: {p: {dialect: antropic, base_url: https://x.example}}",
        "providers.p.dialect",
        "Did you mean anthropic?",
    ),
    "one key for a list": (P % ", api_key: sk-abc", "providers.p.api_key", "Did you mean api_keys?"),
    "a key that is no list": (
        P % ", api_keys: sk-abc",
        "providers.p.api_keys",
        "must be a list; found a value that is not shown here",
    ),
    "an empty key": (P % ", api_keys: ['']", "providers.p.api_keys.0", "is empty: set the variable"),
    "a key with a line break": (P % ', api_keys: ["sk-a\\n"]', "providers.p.api_keys.0", "line break pasted"),
    "a key twice": (P % ", api_keys: [a, a]", "providers.p.api_keys", "has the same key twice"),
    "a word for an address": (
        U % "api.openai.com",
        "providers.p.base_url",
        "must be a whole address: write https://host[:port]/path; found 'api.openai.com'.",
    ),
    "another scheme": (U % "ftp://x.example", "providers.p.base_url", "must be a whole address"),
    "no host": (U % "https:///v1", "providers.p.base_url", "must be a whole address"),
    "a port that is none": (U % "https://x.example:99999", "providers.p.base_url", "no valid host and port"),
    "an open bracket": (U % "'https://[::1'", "providers.p.base_url", "no valid host and port"),
    "a user in the address": (
        U % "https://me:pw@x.example/v1",
        "providers.p.base_url",
        "must hold no user or password: put the key into api_keys or headers; found 'https://***@x.example/v1'.",
    ),
    "a query in the address": (U % "'https://x.example/v1?a=b'", "providers.p.base_url", "? into query"),
    "a fragment": (U % "'https://x.example/v1#a'", "providers.p.base_url", "must end with its path"),
    "a space in the address": (U % "https://x.example/v 1", "providers.p.base_url", "without spaces"),
    "anthropic with a version": (
        A % "https://api.anthropic.com/v1/",
        "providers.p.base_url",
        "must not end with /v1",
    ),
    "plaintext to the world": (
        U % "http://api.example.com/v1",
        "providers.p.base_url",
        "would send keys and prompts unencrypted to api.example.com, which is neither loopback nor private: "
        "write https://, or allow_plaintext: true",
    ),
    "plaintext to a number": (U % "http://134744072/v1", "providers.p.base_url", "unencrypted to 134744072"),
    "a timeout one level up": (
        P % ", first_token_s: 3",
        "providers.p.first_token_s",
        "It belongs one level deeper: timeouts: {first_token_s: …}.",
    ),
    "a timeout with a typo": (
        P % ", timeouts: {first_tokens_s: 3}",
        "providers.p.timeouts.first_tokens_s",
        "Did you mean first_token_s?",
    ),
    "a negative timeout": (
        P % ", timeouts: {total_s: -1}",
        "providers.p.timeouts.total_s",
        "or null; found -1.",
    ),
    "a timeout of nothing": (
        P % ", timeouts: {stall_s: null}",
        "providers.p.timeouts.stall_s",
        "found nothing (null).",
    ),
    "a header that is ours": (
        P % ", headers: {Host: a}",
        "providers.p.headers",
        "Host is written by the gateway itself",
    ),
    "a header's name": (P % ", headers: {'a b': c}", "providers.p.headers", "is not a header name"),
    "a header's value": (P % ', headers: {a: "x\\r\\ny"}', "providers.p.headers", "without line breaks"),
    "a header twice": (P % ", headers: {A: b, a: c}", "providers.p.headers", "a is there twice"),
    "two credentials": (
        P % ", api_keys: [a], headers: {Authorization: b}",
        "providers.p.headers",
        "has authorization beside api_keys",
    ),
    "a number for text": (P % ", query: {v: 1}", "providers.p.query.v", "Put it in quotes."),
    "more warm than allowed": (
        P % ", pool: {connections: 2, warm: 3}",
        "providers.p.pool.warm",
        "must be at most connections, 2; found 3.",
    ),
    "a wait for nothing": (P % ", pool: {queue_s: 0}", "providers.p.pool.queue_s", "must be a number above 0"),
    "a circuit that never has enough": (
        P % ", breaker: {failure_ratio: 1.5}",
        "providers.p.breaker.failure_ratio",
        "must be a number above 0 and at most 1; found 1.5.",
    ),
    "a rest that shrinks": (
        P % ", breaker: {cooldown_s: 10, max_cooldown_s: 5}",
        "providers.p.breaker.max_cooldown_s",
        "must be at least cooldown_s, 10; found 5.",
    ),
    "a rest of no length": (
        P % ", breaker: {cooldown_s: .nan}",
        "providers.p.breaker.cooldown_s",
        "must be a number above 0",
    ),
    "a breaker's key one level up": (
        P % ", cooldown_s: 5",
        "providers.p.cooldown_s",
        "It belongs one level deeper: breaker: {cooldown_s: …}.",
    ),
    "a policy for the unfinished": (
        P % ", unfinished: {settle: drian}",
        "providers.p.unfinished.settle",
        "must be cancel or drain; found 'drian'. Did you mean drain?",
    ),
    "an unfinished stream for ever": (
        P % ", unfinished: {settle: drain, max_s: 86400}",
        "providers.p.unfinished.max_s",
        "must be a number above 0 and at most 3600; found 86400.",
    ),
    "a bound on what is cancelled": (
        P % ", unfinished: {max_tokens: 100}",
        "providers.p.unfinished.max_tokens",
        "does nothing where settle is cancel: write settle: drain, or remove it.",
    ),
    "no verification": (
        P % ", tls: {verify: false}",
        "providers.p.tls.verify",
        "is not a choice, certificates are always verified: remove it",
    ),
    "no certificate file": (
        P % ", tls: {ca_file: /nowhere/ca.pem}",
        "providers.p.tls.ca_file",
        "/nowhere/ca.pem cannot be read",
    ),
    # models
    "a model's name": (
        P % "" + "models: {'a b': {targets: [p/x]}}",
        "models.a b",
        "this name must be 1 to 128 letters",
    ),
    "a star in the middle": (
        P % "" + "models: {'a*b': {targets: [p/x]}}",
        "models.a*b",
        "one * may stand at the very end",
    ),
    "no targets": (
        P % "" + "models: {m: {targets: []}}",
        "models.m.targets",
        "must be a list that is not empty; found an empty list.",
    ),
    "one target for a list": (
        P % "" + "models: {m: {targets: p/x}}",
        "models.m.targets",
        "must be a list that is not empty; found 'p/x'.",
    ),
    "a target without provider": (
        M % ("gpt-4o", ""),
        "models.m.targets.0",
        "must be provider/model, such as",
    ),
    "a target that is a pattern": (M % ("p/gpt-*", ""), "models.m.targets.0", "or * alone"),
    "an unknown provider": (
        M % ("q/x", ""),
        "models.m.targets.0",
        "leads to the provider q, which is not under providers (known: p)",
    ),
    "a misspelt provider": (
        "providers: {openai: {dialect: openai, base_url: https://p.example/v1}}\n"
        "models: {m: {targets: [opnai/gpt-4o]}}",
        "models.m.targets.0",
        "Did you mean openai?",
    ),
    "a target twice": (
        M % ("p/x, {target: p/x}", ""),
        "models.m.targets.1",
        "is p/x again, as targets.0 is: keep one.",
    ),
    "two dialects": (
        "providers:\n"
        "  o: {dialect: openai, base_url: https://o.example/v1}\n"
        "  a: {dialect: anthropic, base_url: https://a.example}\n"
        "models: {m: {targets: [o/x, a/x], price: {input: 1, output: 1}}}",
        "models.m.targets",
        "must be of one dialect, as requests are not translated, but o speaks openai and a speaks anthropic",
    ),
    "a model without a price": (
        P % "" + "models: {m: {targets: [p/unheard-of]}}",
        "models.m.targets.0",
        "has no price: unheard-of is not in the shipped table, so every request would be refused. Write "
        "price: {input: …, output: …}",
    ),
    "a name without a price": (
        P % "" + "models: {unheard-of: {targets: ['p/*']}}",
        "models.unheard-of.targets.0",
        "has no price: unheard-of",
    ),
    "half a price": (
        P % "" + "models: {m: {targets: [p/x], price: {input: 1}}}",
        "models.m.price.output",
        "is missing: write a number from 0 to 1000000. Generated tokens",
    ),
    "a negative price": (
        P % "" + "models: {m: {targets: [p/x], price: {input: -1, output: 0}}}",
        "models.m.price.input",
        "must be a number from 0 to 1000000; found -1.",
    ),
    "too fine a price": (
        P % "" + "models: {m: {targets: [p/x], price: {input: 0.1234567, output: 0}}}",
        "models.m.price.input",
        "must have at most 6 decimals; found 0.1234567.",
    ),
    "no output": (M % ("p/x", ", max_output: 0"), "models.m.max_output", "found 0."),
    "a timeout of nothing for a model": (
        M % ("p/x", ", timeouts: {stall_s: null}"),
        "models.m.timeouts.stall_s",
        "cannot be null: leave it out to keep the provider's",
    ),
    "a balance with a typo": (M % ("p/x", ", balance: orderd"), "models.m.balance", "Did you mean ordered?"),
    "a negative weight": (
        M % ("{target: p/x, weight: -1}", ", balance: weighted"),
        "models.m.targets.0.weight",
        "must be a whole number from 0 to 1000000; found -1.",
    ),
    "half a weight": (
        M % ("{target: p/x, weight: 0.5}", ", balance: weighted"),
        "models.m.targets.0.weight",
        "must be a whole number from 0 to 1000000; found 0.5.",
    ),
    "a weight that is a switch": (
        M % ("{target: p/x, weight: true}", ", balance: weighted"),
        "models.m.targets.0.weight",
        "must be a number, not true or false",
    ),
    "weights that sum to nothing": (
        M % ("{target: p/x, weight: 0}, {target: p/y, weight: 0}", ", balance: weighted"),
        "models.m.targets",
        "have weights that sum to nothing: give at least one of them a weight above 0.",
    ),
    "a weight that nobody reads": (
        M % ("{target: p/x, weight: 3}, p/y", ""),
        "models.m.targets.0.weight",
        "does nothing where balance is ordered: write balance: weighted, or remove it.",
    ),
    "a hedge without a time": (
        M % ("p/x, p/y", ", hedge: {}"),
        "models.m.hedge.after_s",
        "is missing: write a number above 0 and at most 86400.",
    ),
    "a hedge as a number": (M % ("p/x, p/y", ", hedge: 2"), "models.m.hedge", "must be a mapping or null; found 2."),
    "a hedge backwards": (M % ("p/x, p/y", ", hedge: {after_s: -2}"), "models.m.hedge.after_s", "found -2."),
    "a hedge for more than all": (
        M % ("p/x, p/y", ", hedge: {after_s: 2, max_share: 5}"),
        "models.m.hedge.max_share",
        "must be a number above 0 and at most 1; found 5.",
    ),
    "a hedge with nobody": (
        M % ("p/x", ", hedge: {after_s: 2}"),
        "models.m.hedge",
        "has no second target to start: add one to targets, or remove it.",
    ),
    "a hedge that never starts": (
        M % ("p/x, p/y", ", hedge: {after_s: 60}"),
        "models.m.hedge.after_s",
        "is never reached, as providers.p.timeouts.first_token_s gives a target up after 60 s: write less than that.",
    ),
    "a slowness that is never seen": (
        M % ("p/x", ", slow_first_token_s: 5, timeouts: {first_token_s: 4}"),
        "models.m.slow_first_token_s",
        "is never reached, as models.m.timeouts.first_token_s gives a target up after 4 s: write less than that.",
    ),
    "a slowness of nothing": (
        M % ("p/x", ", slow_first_token_s: 0"),
        "models.m.slow_first_token_s",
        "must be a number above 0 and at most 86400 or null; found 0.",
    ),
    # tenants
    "tenants as a mapping": ("tenants: {a: {}}", "tenants", "must be a list; found a mapping."),
    "a tenant's id": ("tenants: [{id: A}]", "tenants.0.id", "must be 1 to 64 lower-case letters"),
    "a key in the clear": (
        T % ("agw-plain", "", ""),
        "tenants.0.keys.0.hash",
        "must be sha256: and 64 lower-case hex digits; aigateway keygen prints a key and its hash; "
        "found a value that is not shown here",
    ),
    "keys as words": (
        "tenants: [{id: a, keys: [agw-plain]}]",
        "tenants.0.keys.0",
        "must be a mapping; found a value that is not shown here",
    ),
    "no date": (
        T % (HASH, ", expires: soon", ""),
        "tenants.0.keys.0.expires",
        "must be a date or a moment: 2027-01-01 or 2027-01-01T12:00:00+00:00; found 'soon'.",
    ),
    "an allow-list with a star in front": (
        T % (HASH, "", ", models: ['*x']"),
        "tenants.0.models.0",
        "very end",
    ),
    "a tenant twice": ("tenants: [{id: a}, {id: a}]", "tenants.1.id", "is a again, as tenants.0.id is"),
    "a key's id twice": (
        f"tenants: [{{id: a, keys: [{{id: k, hash: '{HASH}'}}, {{id: k, hash: '{OTHER}'}}]}}]",
        "tenants.0.keys.1.id",
        "is k again, as tenants.0.keys.0.id is",
    ),
    "a key of two tenants": (
        f"tenants:\n- {{id: a, keys: [{{id: k, hash: '{HASH}'}}]}}\n- {{id: b, keys: [{{id: k, hash: '{HASH}'}}]}}",
        "tenants.1.keys.0.hash",
        "is the same key as tenants.0.keys.0.hash",
    ),
    "a limit of none": (T % (HASH, "", ", limits: {concurrent: 0}"), "tenants.0.limits.concurrent", "from 1 to"),
    "a negative limit": (
        T % (HASH, "", ", limits: {requests_per_minute: -5}"),
        "tenants.0.limits.requests_per_minute",
        "from 1 to",
    ),
    "half a request": (
        T % (HASH, "", ", limits: {requests_per_minute: 0.5}"),
        "tenants.0.limits.requests_per_minute",
        "must be a whole number",
    ),
    "a limit misspelt": (
        T % (HASH, "", ", limits: {tokens_per_minut: 5}"),
        "tenants.0.limits.tokens_per_minut",
        "Did you mean tokens_per_minute?",
    ),
    "a burst of nothing": (T % (HASH, "", ", limits: {burst: 5}"), "tenants.0.limits.burst", "needs requests_per_min"),
    "a limit on no model": (
        T % (HASH, "", ', model_limits: {"gtp-*": {concurrent: 1}}'),
        "tenants.0.model_limits.gtp-*",
        "limits no model: write a name under models",
    ),
    "half a slot": (T % (HASH, ", limits: {concurrent: 0.5}", ""), "tenants.0.keys.0.limits.concurrent", "found 0.5."),
    "a limit that is a switch": (
        T % (HASH, "", ", limits: {tokens_per_minute: true}"),
        "tenants.0.limits.tokens_per_minute",
        "must be a number, not true or false; found true.",
    ),
    # budgets
    "a budget as a number": (B % "5", "tenants.0.budget", "must be a mapping or null; found 5."),
    "a budget of no size": (
        B % "{window: day}",
        "tenants.0.budget.usd",
        "is missing: write a number from 0 to 1000000000. US dollars for each period; 0: nothing may be spent.",
    ),
    "a budget of nothing": (
        B % "{usd: null}",
        "tenants.0.budget.usd",
        "must be US dollars, 0 for nothing at all; where there is no budget, leave budget out; found nothing (null).",
    ),
    "a negative budget": (B % "{usd: -1}", "tenants.0.budget.usd", "must be a number from 0 to 1000000000; found -1."),
    "a negative budget of a key": (
        T % (HASH, ", budget: {usd: -0.01}", ""),
        "tenants.0.keys.0.budget.usd",
        "from 0 to 1000000000; found -0.01.",
    ),
    "less than a thousand nano-dollars": (
        B % "{usd: 0.0000001}",
        "tenants.0.budget.usd",
        "must have at most 6 decimals; found 1e-07.",
    ),
    "a budget without end": (B % "{usd: .inf}", "tenants.0.budget.usd", "from 0 to 1000000000; found '.inf'."),
    "a budget that is a switch": (B % "{usd: true}", "tenants.0.budget.usd", "must be a number, not true or false"),
    "a budget in words": (B % "{usd: a lot}", "tenants.0.budget.usd", "from 0 to 1000000000; found 'a lot'."),
    "a window with a typo": (B % "{usd: 1, window: mouth}", "tenants.0.budget.window", "Did you mean month?"),
    "a budget a year": (
        B % "{usd: 1, window: year}",
        "tenants.0.budget.window",
        "must be day or week or month or total; found 'year'.",
    ),
    "a time zone that does not exist": (
        B % "{usd: 1, timezone: Europe/Berlyn}",
        "tenants.0.budget.timezone",
        "is no time zone: write a name of the IANA database, UTC or Europe/Berlin, say; found 'Europe/Berlyn'.",
    ),
    "a time zone that is a folder": (B % "{usd: 1, timezone: Europe}", "tenants.0.budget.timezone", "is no time zone"),
    "a time zone that is a path": (
        T % (HASH, ", budget: {usd: 1, timezone: ../../etc/passwd}", ""),
        "tenants.0.keys.0.budget.timezone",
        "is no time zone",
    ),
    "a time zone of no name": (B % "{usd: 1, timezone: ''}", "tenants.0.budget.timezone", "is no time zone"),
    "a threshold in percent": (
        B % "{usd: 1, soft_at: [80]}",
        "tenants.0.budget.soft_at.0",
        "must be a number above 0 and at most 1; found 80.",
    ),
    "a threshold at nothing": (B % "{usd: 1, soft_at: [0.5, 0]}", "tenants.0.budget.soft_at.1", "found 0."),
    "a threshold twice": (B % "{usd: 1, soft_at: [0.5, 0.5]}", "tenants.0.budget.soft_at", "has a share twice"),
    "too many thresholds": (
        B % f"{{usd: 1, soft_at: {[n / 11 for n in range(1, 12)]}}}",
        "tenants.0.budget.soft_at",
        "must be a list of at most 10",
    ),
    "an end with a typo": (
        B % "{usd: 1, when_exhausted: stop}",
        "tenants.0.budget.when_exhausted",
        "must be cut or finish; found 'stop'.",
    ),
    "a budget's key": (B % "{usd: 1, limit: 5}", "tenants.0.budget.limit", "Allowed here: usd, window, timezone"),
    # stores and ledger
    "a database of another kind": (
        "stores: {database_url: 'mysql://me:secret@db/x'}",
        "stores.database_url",
        "must begin with sqlite:/// or postgresql://; found 'mysql://***@db/x'.",
    ),
    "a database of a driver": (
        "stores: {database_url: 'postgresql+asyncpg://db/x'}",
        "stores.database_url",
        "must begin with sqlite:/// or postgresql://",
    ),
    "a database of no file": (
        "stores: {database_url: 'sqlite://'}",
        "stores.database_url",
        "must be a file: write sqlite:///data/gateway.db, or sqlite:////var/lib/gateway.db; found 'sqlite://'.",
    ),
    "a database that forgets": (
        "stores: {database_url: 'sqlite:///:memory:'}",
        "stores.database_url",
        "would forget everything at the end",
    ),
    "a database that is a directory": (
        "stores: {database_url: 'sqlite:///data/'}",
        "stores.database_url",
        "must end with the name of a file",
    ),
    "a server without a port": (
        "stores: {database_url: 'postgresql://me:secret@db:port/x'}",
        "stores.database_url",
        "has no valid host and port: write postgresql://host:5432/name, with user:password@ before the host, and "
        "/ ? # @ : in the password percent-encoded; found 'postgresql://***@db:port/x'.",
    ),
    "no database": ("stores: {database_url: null}", "stores.database_url", "must be text; found nothing (null)."),
    "a cache of another kind": (
        "stores: {redis_url: 'http://cache'}",
        "stores.redis_url",
        "must be a whole address: write redis://host:6379/0, with rediss:// for TLS, and a password as :password@ "
        "before the host; found 'http://cache'.",
    ),
    "a Redis without a host": ("stores: {redis_url: 'redis://:pw@'}", "stores.redis_url", "found 'redis://***@'."),
    "a Redis without a port": ("stores: {redis_url: 'redis://a:b'}", "stores.redis_url", "no valid host and port"),
    "an outage with a typo": ("stores: {on_outage: alow}", "stores.on_outage", "Did you mean allow?"),
    "a store's key": ("stores: {redis: x}", "stores.redis", "Did you mean redis_url?"),
    "a store that is a word": ("stores: x", "stores", "must be a mapping; found 'x'."),
    "no wait for the end": (
        "ledger: {end_wait_s: 0}",
        "ledger.end_wait_s",
        "must be a number above 0 and at most 86400; found 0.",
    ),
    "a wait that is a switch": ("ledger: {open_wait_s: true}", "ledger.open_wait_s", "must be a number, not true"),
    "a wait that is no number": ("ledger: {open_wait_s: .nan}", "ledger.open_wait_s", "found '.nan'."),
    "less than a month": (
        "ledger: {retention_days: 31}",
        "ledger.retention_days",
        "must be a whole number from 32 to 36500 or null; found 31.",
    ),
    "half a day": ("ledger: {retention_days: 90.5}", "ledger.retention_days", "found 90.5."),
    "a ledger's key": ("ledger: {end_wait: 2}", "ledger.end_wait", "Did you mean end_wait_s?"),
    "a tag with a space": (
        "ledger: {tags: [feature, 'a b']}",
        "ledger.tags.1",
        "must be 1 to 64 letters, digits, dots, dashes and underscores: feature, say; found 'a b'.",
    ),
    "too many tags": (f"ledger: {{tags: {list(map(str, range(17)))}}}", "ledger.tags", "must be a list of at most 16"),
    # the admin API
    "a key that can be guessed": (
        "admin: {key: short}",
        "admin.key",
        "must be 16 to 512 printable ASCII characters without spaces: aigateway keygen makes one; found a value that "
        "is not shown here",
    ),
    "one key for both": (
        "admin: {key: agw-0123456789abcdef, viewer_key: agw-0123456789abcdef}",
        "admin.viewer_key",
        "must differ from admin.key",
    ),
    "a viewer's key that can be guessed": (
        "admin: {viewer_key: my secret}",
        "admin.viewer_key",
        "must be 16 to 512 printable ASCII characters without spaces: aigateway keygen makes one; found a value that "
        "is not shown here",
    ),
    "one port for both": (
        "server: {port: 9000}\nadmin: {port: 9000}",
        "admin.port",
        "is server.port too: write another, or null to serve /admin there",
    ),
    "an admin's key misspelt": ("admin: {viewerkey: x}", "admin.viewerkey", "Did you mean viewer_key?"),
    "an admin's port": ("admin: {port: true}", "admin.port", "must be a number, not true or false; found true."),
    # prices
    "an unknown policy": ("pricing: {unpriced: fre}", "pricing.unpriced", "Did you mean free?"),
    "half a policy": ("pricing: {unpriced: {input: 1}}", "pricing.unpriced.output", "is missing"),
    # what comes later
    "later: cache": ("cache: {enabled: false}", "cache", "is not built yet, so nothing would act on it: remove it"),
}

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
    # prices
    "an unknown policy": ("pricing: {unpriced: fre}", "pricing.unpriced", "Did you mean free?"),
    "half a policy": ("pricing: {unpriced: {input: 1}}", "pricing.unpriced.output", "is missing"),
    # what comes later
    **{
        f"later: {key}": (text, key, "is not built yet, so nothing would act on it: remove it")
        for key, text in {
            "tenants.0.budget": T % (HASH, "", ", budget: {usd: 1}"),
            "cache": "cache: {enabled: false}",
            "stores": "stores: {}",
            "ledger": "ledger: {end_wait_s: 2}",
            "admin": "admin: {key: a}",
        }.items()
    },
}

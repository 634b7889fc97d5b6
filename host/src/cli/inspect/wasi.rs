//! Descriptions of imports and exports.

/// Describes what a component can do with an import. The longest known prefix of its name decides.
pub(super) fn describe_import(import: &str) -> &'static str {
    let known = IMPORTS.iter().filter(|(prefix, _)| import.starts_with(prefix));
    known.max_by_key(|(prefix, _)| prefix.len()).map_or("unknown to this gate", |(_, meaning)| meaning)
}

/// Describes what an export is called for.
pub(super) fn describe_export(export: &str) -> &'static str {
    let known = EXPORTS.iter().find(|(prefix, _)| export.starts_with(prefix));
    known.map_or("not used by this gate", |(_, meaning)| meaning)
}

const IMPORTS: [(&str, &str); 24] = [
    ("mqtt-gate:auth/keyring@", "verifies by key rings that the operator grants"),
    ("wasi:clocks/wall-clock@", "reads the clock"),
    ("wasi:clocks/", "measures time and waits"),
    ("wasi:config/", "reads its settings"),
    ("wasi:filesystem/", "files"),
    ("wasi:sockets/", "the network"),
    ("wasi:http/outgoing-handler@", "sends HTTP requests"),
    ("wasi:http/", "HTTP"),
    ("wasi:cli/environment@", "environment variables and the command line"),
    ("wasi:cli/exit@", "ends the program"),
    ("wasi:cli/stdin@", "standard input"),
    ("wasi:cli/stdout@", "standard output"),
    ("wasi:cli/stderr@", "standard error"),
    ("wasi:cli/terminal", "the terminal"),
    ("wasi:cli/", "the command line"),
    ("wasi:random/", "random numbers"),
    ("wasi:io/", "streams"),
    ("wasi:logging/", "writes to a log"),
    ("wasi:keyvalue/", "a key-value store"),
    ("wasi:blobstore/", "a blob store"),
    ("wasi:nn/", "machine learning"),
    ("wasi_snapshot_preview1", "WASI 0.1: files, environment, clock and more"),
    ("wasi_unstable", "WASI 0.1: files, environment, clock and more"),
    ("env", "functions that a linker must supply"),
];

const EXPORTS: [(&str, &str); 5] = [
    ("mqtt-gate:auth/authenticator@", "authenticates clients"),
    ("mqtt-gate:auth/authorizer@", "authorizes publish and subscribe"),
    ("mqtt-gate:auth/metadata@", "describes itself; see `check`"),
    ("wasi:http/incoming-handler@", "handles HTTP requests; not used by this gate"),
    ("wasi:cli/run@", "runs as a program; not used by this gate"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_prefix_describes_an_import() {
        for (import, meaning) in [
            ("wasi:clocks/wall-clock@0.2.0", "reads the clock"),
            ("wasi:clocks/monotonic-clock@0.2.0", "measures time and waits"),
            ("wasi:cli/exit@0.2.0", "ends the program"),
            ("evil:a/b@1.0.0", "unknown to this gate"),
        ] {
            assert_eq!(describe_import(import), meaning, "{import}");
        }
    }

    #[test]
    fn unknown_exports_are_not_used() {
        assert_eq!(describe_export("mqtt-gate:auth/authenticator@0.2.0"), "authenticates clients");
        assert_eq!(describe_export("a:b/c@1.0.0"), "not used by this gate");
    }
}

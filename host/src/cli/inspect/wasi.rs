//! What imports and exports mean, in plain words.

/// What a component can do with what it imports. The longest beginning of the name that is known says it.
pub(crate) fn given(import: &str) -> &'static str {
    let known = GIVEN.iter().filter(|(begin, _)| import.starts_with(begin));
    known.max_by_key(|(begin, _)| begin.len()).map_or("something that this gate does not know", |(_, meaning)| meaning)
}

/// What a component is asked by what it exports.
pub(crate) fn provided(export: &str) -> &'static str {
    let known = PROVIDED.iter().find(|(begin, _)| export.starts_with(begin));
    known.map_or("nothing that this gate asks", |(_, meaning)| meaning)
}

const GIVEN: [(&str, &str); 23] = [
    ("wasi:clocks/wall-clock@", "reads the clock"),
    ("wasi:clocks/", "measures time, and waits"),
    ("wasi:config/", "reads its settings"),
    ("wasi:filesystem/", "files"),
    ("wasi:sockets/", "the network"),
    ("wasi:http/outgoing-handler@", "asks others over HTTP"),
    ("wasi:http/", "speaks HTTP"),
    ("wasi:cli/environment@", "the environment and the command line"),
    ("wasi:cli/exit@", "ends the program"),
    ("wasi:cli/stdin@", "standard input"),
    ("wasi:cli/stdout@", "standard output"),
    ("wasi:cli/stderr@", "standard error"),
    ("wasi:cli/terminal", "the terminal"),
    ("wasi:cli/", "the command line"),
    ("wasi:random/", "random numbers"),
    ("wasi:io/", "streams, and waiting for them"),
    ("wasi:logging/", "writes to a log"),
    ("wasi:keyvalue/", "a store of keys and values"),
    ("wasi:blobstore/", "a store of files"),
    ("wasi:nn/", "machine learning"),
    ("wasi_snapshot_preview1", "files, the environment, the clock and more, as WASI 0.1 names them"),
    ("wasi_unstable", "files, the environment, the clock and more, as WASI 0.1 names them"),
    ("env", "functions of whoever links it"),
];

const PROVIDED: [(&str, &str); 4] = [
    ("mqtt-gate:auth/authenticator@", "judges logins"),
    ("mqtt-gate:auth/authorizer@", "judges single actions"),
    ("wasi:http/incoming-handler@", "answers HTTP; not asked by this gate"),
    ("wasi:cli/run@", "runs as a program; not asked by this gate"),
];

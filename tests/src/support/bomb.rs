//! Components that take a compiler long.

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

pub(crate) fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &leb128(contents.len()), contents].concat()
}

/// A component that holds one core module with these functions, each a body without locals.
pub(crate) fn component(functions: &[Vec<u8>]) -> Vec<u8> {
    let count = leb128(functions.len());
    let types = section(1, &[1, 0x60, 0, 0]);
    let declarations = section(3, &[&count[..], &vec![0; functions.len()]].concat());
    let bodies = functions.iter().flat_map(|code| [&leb128(code.len() + 1)[..], &[0], code].concat());
    let code = section(10, &count.iter().copied().chain(bodies).collect::<Vec<_>>());
    let module = [b"\0asm\x01\0\0\0", &types[..], &declarations, &code].concat();
    [b"\0asm\x0d\0\x01\0", &section(1, &module)[..]].concat()
}

/// A component that passes the check before compiling, and takes a compiler minutes on any machine: one function of a
/// megabyte, of blocks within blocks again and again.
pub(crate) fn slow_component() -> Vec<u8> {
    let nested = 3_900;
    let blocks = [[0x02, 0x40].repeat(nested), vec![0x0b; nested]].concat();
    component(&[[blocks.repeat(85), vec![0x0b]].concat()])
}

/// A component that passes the check before compiling, and takes a compiler hundreds of megabytes.
pub(crate) fn large_component() -> Vec<u8> {
    let code = [[0x10, 0x00].repeat(200), vec![0x0b]].concat();
    component(&vec![code; 29_000])
}

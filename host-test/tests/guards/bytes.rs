//! Bytes that are no module, or nearly one: never a panic, always a sentence.

use std::path::Path;

use host_test::inspect::inspect;
use host_test::module::Module;

use crate::frame::wat;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn whole() -> Vec<u8> {
    wat::parse_str(wat(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) say("hello") (i32.const 0))"#,
    ))
    .expect("valid WAT")
}

/// Loads and inspects bytes; tells whether they load.
fn load(bytes: &[u8]) -> bool {
    let path = Path::new("m.wasm");
    // Whatever it says, it says it.
    let _ = inspect(path, bytes);
    match Module::from_bytes(path, bytes) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.cause.is_empty());
            false
        }
    }
}

#[test]
fn a_truncated_module_is_refused_wherever_it_is_cut() {
    let whole = whole();
    assert!(load(&whole));
    // The data and the names come last, and a cut may leave them out as a whole.
    let cuts = (0..whole.len()).filter(|&cut| load(&whole[..cut])).count();
    assert!(cuts <= 2, "{cuts} cuts load");
}

#[test]
fn a_module_with_flipped_bits_loads_or_is_refused() {
    let whole = whole();
    let mut seed = 1;
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(&mut seed) % 3 {
            let at = (random(&mut seed) as usize) % bytes.len();
            bytes[at] ^= 1 << (random(&mut seed) % 8);
        }
        load(&bytes);
    }
}

#[test]
fn components_and_text_are_refused() {
    let component = b"\0asm\x0d\0\x01\0";
    for bytes in [
        &b""[..],
        b"\0",
        b"\0asm",
        b"(module)",
        component,
        &[0xff; 4096],
    ] {
        assert!(!load(bytes));
    }
}

#[test]
fn a_module_with_as_many_imports_as_an_engine_takes_is_refused_by_the_first_unknown_one() {
    let imports: String = (0..20_000)
        .map(|n| format!("(import \"env\" \"call_{n}\" (func))"))
        .collect();
    let module = format!("(module {imports} (func (export \"proxy_abi_version_0_2_1\")))");
    let bytes = wat::parse_str(module).expect("valid WAT");
    let error = Module::from_bytes(Path::new("m.wasm"), &bytes).unwrap_err();
    assert_eq!(
        error.cause,
        "Failed to load Wasm module due to a missing import: env.call_0"
    );
}

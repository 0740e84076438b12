//! MD5 (RFC 1321), which PostgreSQL asks for where a password was stored before version 14. It protects little, and needs no crate.

/// The answer to a server that asks for the password with MD5: `md5`, and a hash of the salt and of the hash that the server has.
pub(super) fn answer(user: &str, password: &[u8], salt: [u8; 4]) -> String {
    let stored = hex(digest(&[password, user.as_bytes()].concat()));
    format!("md5{}", hex(digest(&[stored.as_bytes(), &salt].concat())))
}

fn hex(digest: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(digest))
}

/// RFC 1321 §3.4: how far each step of a round turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

fn digest(message: &[u8]) -> [u8; 16] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        state = mix(state, block);
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn mix(state: [u32; 4], block: &[u8]) -> [u32; 4] {
    let word = |at: usize| {
        u32::from_le_bytes([block[4 * at], block[4 * at + 1], block[4 * at + 2], block[4 * at + 3]])
    };
    let [mut a, mut b, mut c, mut d] = state;
    for step in 0..64_usize {
        let round = step / 16;
        let (mixed, at) = match round {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), 7 * step % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(constant(step)).wrapping_add(word(at));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(TURNS[round][step % 4]));
    }
    [state[0].wrapping_add(a), state[1].wrapping_add(b), state[2].wrapping_add(c), state[3].wrapping_add(d)]
}

/// RFC 1321 §3.4: the whole part of 2³² |sin(step + 1)|, which is exact enough in 64 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0 and less than 2³²")]
fn constant(step: usize) -> u32 {
    let step = u32::try_from(step).unwrap_or_default();
    (f64::from(step + 1).sin().abs() * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_suite_of_rfc_1321_passes() {
        let table = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (message, expected) in table {
            assert_eq!(hex(digest(message.as_bytes())), expected, "{message}");
        }
    }

    #[test]
    fn an_answer_is_the_one_that_libpq_gives() {
        // `md5(md5('hunter2' || 'health') || '\x01020304')`, as PostgreSQL 15 computes it.
        assert_eq!(answer("health", b"hunter2", [1, 2, 3, 4]), "md5b161dede402954c1cbaa32f5141c3aae");
    }
}

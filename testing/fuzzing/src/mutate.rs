//! Mutations of inputs: whole words, lines and JSON values are exchanged, since mutated bytes alone rarely parse. A seed determines
//! everything, so that a failure is reproducible.

use serde_json::Value;

/// Maximum length of a mutated input, in bytes; about that of libFuzzer's default.
pub const LONGEST: usize = 8 << 10;

/// A deterministic random number generator (`SplitMix64`, Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let once = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let twice = (once ^ (once >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        twice ^ (twice >> 31)
    }

    /// Returns a number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % end.max(1)).unwrap_or_default()
    }

    /// Returns one of `all`.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> Option<&'a T> {
        all.get(self.below(all.len())).copied()
    }
}

/// The form of a target's inputs, with words that have a meaning in it.
#[derive(Clone, Copy, Debug)]
pub enum Mutation {
    /// Lines of words.
    Text(&'static [&'static str]),
    /// JSON.
    Json(&'static [&'static str]),
}

impl Mutation {
    /// Returns another input, made of this one by a few changes.
    #[must_use]
    pub fn of(self, data: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut data = data.to_vec();
        for _ in 0..=dice.below(4) {
            data = match self {
                Self::Text(words) => changed(&data, words, dice),
                Self::Json(words) => match serde_json::from_slice::<Value>(&data) {
                    Ok(value) if dice.below(8) > 0 => changed_json(value, words, dice).to_string().into_bytes(),
                    _ => changed(&data, words, dice),
                },
            };
        }
        data.truncate(LONGEST);
        data
    }

    /// The same within `data`, with libFuzzer's parameters: the first `size` bytes are the input. None where libFuzzer must mutate it.
    pub fn in_place(self, data: &mut [u8], size: usize, seed: u32) -> Option<usize> {
        let mut dice = Dice::new(u64::from(seed));
        if dice.below(3) == 0 {
            return None;
        }
        let other = self.of(data.get(..size)?, &mut dice);
        let length = other.len().min(data.len());
        data.get_mut(..length)?.copy_from_slice(other.get(..length)?);
        Some(length)
    }
}

/// Splits text into runs of letters and digits, and single other characters.
fn pieces(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = if is_word(first) { rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (piece, tail) = rest.split_at(end);
        all.push(piece);
        rest = tail;
    }
    all
}

fn changed(data: &[u8], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    match std::str::from_utf8(data) {
        Ok(text) if dice.below(3) == 0 => changed_lines(text, words, dice).into_bytes(),
        Ok(text) if dice.below(8) > 0 => changed_pieces(text, words, dice).into_bytes(),
        _ => changed_bytes(data, dice),
    }
}

/// Removes, duplicates or moves a line, or adds a word to it.
fn changed_lines(text: &str, words: &[&str], dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.split('\n').map(ToOwned::to_owned).collect();
    let line = lines.swap_remove(dice.below(lines.len()));
    let place = dice.below(lines.len() + 1);
    match dice.below(4) {
        0 => {}
        1 => lines.extend([line.clone(), line]),
        2 => lines.insert(place, line),
        _ => lines.insert(place, format!("{line} {}", dice.pick(words).unwrap_or_default())),
    }
    lines.join("\n")
}

/// Removes, adds or replaces a word: by one with a meaning, by one from elsewhere in the text, or by a close number.
fn changed_pieces(text: &str, words: &[&str], dice: &mut Dice) -> String {
    let mut all: Vec<String> = pieces(text).into_iter().map(ToOwned::to_owned).collect();
    let place = dice.below(all.len());
    let word = dice.pick(words).unwrap_or_default().to_owned();
    let from_here = all.get(dice.below(all.len())).cloned().unwrap_or_default();
    match (dice.below(6), all.get_mut(place)) {
        (0, Some(_)) => drop(all.remove(place)),
        (1, Some(piece)) => *piece = from_here,
        (2, Some(piece)) => *piece = number(piece, dice),
        (3, Some(piece)) => *piece = word,
        (4, _) => all.insert(place, from_here),
        _ => all.insert(place, word),
    }
    all.concat()
}

/// Returns a number close to the one in `piece`, or a boundary value.
fn number(piece: &str, dice: &mut Dice) -> String {
    let digits = |c: char| c.is_ascii_digit();
    let old: u64 = piece.trim_matches(|c| !digits(c)).parse().unwrap_or_default();
    let edges = [0, 1, 59, 60, 99_999, u64::from(u32::MAX), 1 << 40, u64::MAX];
    let new = match dice.below(4) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(10),
        _ => edges.get(dice.below(edges.len())).copied().unwrap_or_default(),
    };
    format!("{new}{}", piece.trim_start_matches(digits))
}

fn changed_bytes(data: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let place = dice.below(bytes.len());
    let any = u8::try_from(dice.below(256)).unwrap_or_default();
    match (dice.below(4), bytes.get_mut(place)) {
        (0, Some(byte)) => *byte = any,
        (1, Some(byte)) => *byte ^= 1 << (any % 8),
        (2, Some(_)) => drop(bytes.remove(place)),
        (3, Some(_)) if any < 32 => bytes.truncate(place),
        _ => bytes.insert(place, any),
    }
    bytes
}

/// Returns the JSON pointers of all parts of a value.
pub(crate) fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut under = |key: &str, inner: &Value| all.extend(pointers(inner).into_iter().map(|rest| format!("/{key}{rest}")));
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| under(&key.replace('~', "~0").replace('/', "~1"), inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, inner)| under(&i.to_string(), inner)),
        _ => {}
    }
    all
}

/// Removes, adds or replaces one value.
fn changed_json(mut value: Value, words: &[&str], dice: &mut Dice) -> Value {
    let places = pointers(&value);
    let place = places.get(dice.below(places.len())).cloned().unwrap_or_default();
    let from_here = places.get(dice.below(places.len())).and_then(|other| value.pointer(other)).cloned().unwrap_or_default();
    let word = dice.pick(words).unwrap_or_default().to_owned();
    let Some(found) = value.pointer_mut(&place) else { return value };
    match (dice.below(6), &mut *found) {
        (0, Value::Object(map)) => {
            let key = map.keys().nth(dice.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (1, Value::Object(map)) => drop(map.insert(word, from_here)),
        (0, Value::Array(items)) => drop(items.pop()),
        (1, Value::Array(items)) => items.insert(dice.below(items.len() + 1), from_here),
        (0 | 1, Value::String(text)) => *text = changed_pieces(text, words, dice),
        (0 | 1, Value::Number(old)) => *found = number(&old.to_string(), dice).parse::<u64>().unwrap_or_default().into(),
        (2, _) => *found = from_here,
        (3, _) => *found = word.into(),
        (4, _) => {
            *found = vec![Value::Null, true.into(), false.into(), 0.into(), (-1).into(), 0.5.into(), "".into()].swap_remove(dice.below(7));
        }
        _ if dice.below(2) == 0 => *found = Value::Array(vec![from_here]),
        _ => *found = Value::Object([(word, from_here)].into_iter().collect()),
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input_and_most_seeds_another_one() {
        for (mutation, input) in [(Mutation::Text(&["word"]), "a=1 b\nc"), (Mutation::Json(&["word"]), r#"{"a":[1,"x"]}"#)] {
            let made = |seed| mutation.of(input.as_bytes(), &mut Dice::new(seed));
            assert!((0..100).all(|seed| made(seed) == made(seed)));
            assert!((0..100).filter(|seed| made(*seed) != input.as_bytes()).count() > 80);
        }
    }

    #[test]
    fn no_input_makes_a_mutation_panic() {
        let mut dice = Dice::new(1);
        for mutation in [Mutation::Text(&["word"]), Mutation::Text(&[]), Mutation::Json(&["word"])] {
            for input in ["", "\n", "\u{e9}", "{}", "[]", "0", "\"\""] {
                let mut data = input.as_bytes().to_vec();
                (0..200).for_each(|_| data = mutation.of(&data, &mut dice));
                let mut place = [0_u8; 4];
                assert!((0..50).all(|seed| mutation.in_place(&mut place, 2, seed).is_none_or(|size| size <= 4)));
            }
        }
    }
}

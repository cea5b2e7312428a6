//! A streaming JSON filter: it keeps only the requested parts of a JSON text as it arrives.
//!
//! An object of the API server has up to 1.5 MB, most of it in fields that no rule reads: labels, annotations, managed fields, and the
//! rules of roles that no eligibility offers. A list of such objects, or one object that is parsed as a whole, needs many times that size.
//! Here an object needs no more memory than the parts that are kept, and each of these has a limit (T26).

/// Which part of a value is kept.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// The whole value, if its text has at most this many bytes. A longer value is replaced by the number of its bytes.
    UpTo(usize),
    /// As [`Keep::UpTo`], but a longer value is replaced by an empty string.
    Text(usize),
    /// As [`Keep::UpTo`], but a longer value is replaced by an empty list.
    List(usize),
    /// The members of an object whose names have this prefix, within this many bytes in total. Values beyond the limit are replaced by
    /// empty strings.
    Beginning(&'static str, usize),
    /// These members of an object. A value of another type is kept unchanged, up to a few bytes.
    Members(&'static [(&'static str, Keep)]),
    /// Each item of a list, returned by itself as soon as it is complete. This works for the outermost list only.
    Each(&'static Keep),
    /// The answer to a list: this part of each item, returned by itself, and the list's metadata.
    ListOf(&'static Keep),
    /// A line of a watch: its type, and this part of its object.
    LineOf(&'static Keep),
}

/// Limit of a name, a version or another short text, in bytes.
pub const SHORT: usize = 4 << 10;
/// The metadata of a list. The continue token contains the name of an object.
const LIST_META: Keep = Keep::Members(&[("resourceVersion", Keep::Text(SHORT)), ("continue", Keep::Text(SHORT))]);

/// A complete part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// An item of the list under [`Keep::Each`].
    Item(&'t [u8]),
    /// A whole text, without the items that were already returned.
    Whole(&'t [u8]),
}

/// The text is not valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is no JSON")]
pub struct Broken;

/// Longest name of a requested member, in bytes.
const MAX_NAME: usize = 64;
/// Most bytes of a value whose type differs from that in [`Keep`].
const MAX_OTHER: usize = 256;

/// Reads consecutive JSON texts, in pieces of any length.
#[derive(Debug)]
pub struct Sieve {
    keep: Keep,
    at: At,
    open: Vec<Open>,
    kept: Vec<u8>,
}

/// The expected token.
#[derive(Debug)]
enum At {
    /// A value, and which part of it is kept.
    Value(Option<Keep>),
    /// The first item of a list, or the list's end.
    FirstItem,
    /// The separator after an item, or the end.
    AfterItem,
    /// A member or the end of an object.
    Member,
    /// The name of a member, as far as it was read.
    Name(Vec<u8>, bool),
    /// The colon after a name, and which part of its value is kept.
    Colon(Option<Keep>),
    /// The rest of a value that is kept or skipped as a whole.
    Within(Within),
}

/// An object or list whose members are filtered.
#[derive(Debug)]
enum Open {
    Object { members: Members, written: bool },
    List { each: &'static Keep, start: usize },
}

/// Which members of an object are kept.
#[derive(Clone, Copy, Debug)]
enum Members {
    These(&'static [(&'static str, Keep)]),
    /// Those with this prefix, and the bytes that remain for their values.
    Beginning(&'static str, usize),
    OfList(&'static Keep),
    OfLine(&'static Keep),
}

/// A value that is kept or skipped as a whole.
#[derive(Debug)]
struct Within {
    /// The start in the kept text, and the limit. `None`: the value is skipped.
    kept: Option<(usize, usize)>,
    /// The replacement of a value that is too long. `None`: its length.
    instead: Option<&'static str>,
    length: usize,
    depth: usize,
    kind: Kind,
    escaped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Text,
    Nested,
}

impl Sieve {
    /// Returns a filter that keeps this part of each text.
    #[must_use]
    pub const fn new(keep: Keep) -> Self {
        Self { keep, at: At::Value(Some(keep)), open: Vec::new(), kept: Vec::new() }
    }

    /// Reads a piece and passes on the parts that it completes.
    ///
    /// # Errors
    ///
    /// The text is not valid JSON. The filter cannot be used afterwards.
    pub fn read(&mut self, mut piece: &[u8], found: &mut impl FnMut(Part<'_>)) -> Result<(), Broken> {
        while let Some((&byte, rest)) = piece.split_first() {
            // Text that is skipped or copied is processed in long runs.
            if let At::Within(within) = &mut self.at {
                let (taken, done) = within.take(piece, &mut self.kept);
                piece = piece.get(taken..).unwrap_or_default();
                if done {
                    self.value_ends(found);
                }
                continue;
            }
            piece = rest;
            self.step(byte, found)?;
        }
        Ok(())
    }

    /// Ends the text. A number or word at the very end is complete only now.
    ///
    /// # Errors
    ///
    /// The text ends in the middle of a value.
    pub fn end(&mut self, found: &mut impl FnMut(Part<'_>)) -> Result<(), Broken> {
        if let At::Within(Within { kind: Kind::Word, .. }) = self.at
            && self.open.is_empty()
        {
            self.value_ends(found);
        }
        if self.open.is_empty() && matches!(self.at, At::Value(_)) { Ok(()) } else { Err(Broken) }
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(Part<'_>)) -> Result<(), Broken> {
        let space = byte.is_ascii_whitespace();
        match &mut self.at {
            At::Within(_) => return Err(Broken),
            At::Name(_, false) if byte == b'"' => self.at = At::Colon(self.wanted()),
            At::Name(name, escaped) => {
                *escaped = byte == b'\\' && !*escaped;
                if name.len() <= MAX_NAME {
                    name.push(byte);
                }
            }
            _ if space => {}
            At::Value(keep) => {
                let keep = *keep;
                self.value_begins(byte, keep)?;
            }
            At::FirstItem if byte == b']' => self.closes(found),
            At::FirstItem => self.item_begins(byte)?,
            At::AfterItem => match byte {
                b',' => self.at = At::Value(self.each()),
                b']' => self.closes(found),
                _ => return Err(Broken),
            },
            At::Member => match byte {
                b'"' => self.at = At::Name(Vec::new(), false),
                b',' => {}
                b'}' => self.closes(found),
                _ => return Err(Broken),
            },
            At::Colon(keep) if byte == b':' => {
                let keep = *keep;
                self.at = At::Value(keep);
            }
            At::Colon(_) => return Err(Broken),
        }
        Ok(())
    }

    /// Returns which part is kept of the member whose name was read, and writes the name.
    fn wanted(&mut self) -> Option<Keep> {
        let At::Name(name, _) = &self.at else { return None };
        let Some(Open::Object { members, written }) = self.open.last_mut() else { return None };
        let keep = match members {
            Members::These(members) => members.iter().find(|(member, _)| member.as_bytes() == name.as_slice())?.1,
            Members::Beginning(begin, room) => {
                let plain = name.len() <= MAX_NAME && name.starts_with(begin.as_bytes()) && !name.contains(&b'\\');
                // The name counts too, so that the number of members without a value is limited.
                *room = room.checked_sub(name.len()).filter(|_| plain)?;
                Keep::Text(*room)
            }
            Members::OfList(item) => match name.as_slice() {
                b"metadata" => LIST_META,
                b"items" => Keep::Each(item),
                _ => return None,
            },
            Members::OfLine(object) => match name.as_slice() {
                b"type" => Keep::Text(SHORT),
                b"object" => **object,
                _ => return None,
            },
        };
        if std::mem::replace(written, true) {
            self.kept.push(b',');
        }
        self.kept.push(b'"');
        self.kept.extend_from_slice(name);
        self.kept.extend_from_slice(b"\":");
        Some(keep)
    }

    fn each(&self) -> Option<Keep> {
        match self.open.last() {
            Some(Open::List { each, .. }) => Some(**each),
            _ => None,
        }
    }

    fn item_begins(&mut self, byte: u8) -> Result<(), Broken> {
        self.value_begins(byte, self.each())
    }

    fn value_begins(&mut self, byte: u8, keep: Option<Keep>) -> Result<(), Broken> {
        let members = match (keep, byte) {
            (Some(Keep::Members(members)), b'{') => Some(Members::These(members)),
            (Some(Keep::Beginning(begin, room)), b'{') => Some(Members::Beginning(begin, room)),
            (Some(Keep::ListOf(item)), b'{') => Some(Members::OfList(item)),
            (Some(Keep::LineOf(object)), b'{') => Some(Members::OfLine(object)),
            (Some(Keep::Each(each)), b'[') => {
                self.kept.push(b'[');
                self.open.push(Open::List { each, start: self.kept.len() });
                self.at = At::FirstItem;
                return Ok(());
            }
            _ => None,
        };
        if let Some(members) = members {
            self.kept.push(b'{');
            self.open.push(Open::Object { members, written: false });
            self.at = At::Member;
            return Ok(());
        }
        let kind = match byte {
            b'"' => Kind::Text,
            b'{' | b'[' => Kind::Nested,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Kind::Word,
            _ => return Err(Broken),
        };
        let limit = keep.map(|keep| if let Keep::UpTo(limit) | Keep::Text(limit) | Keep::List(limit) = keep { limit } else { MAX_OTHER });
        let mut within = Within {
            kept: limit.map(|limit| (self.kept.len(), limit)),
            instead: match keep {
                Some(Keep::Text(_)) => Some("\"\""),
                Some(Keep::List(_)) => Some("[]"),
                _ => None,
            },
            length: 0,
            depth: usize::from(kind == Kind::Nested),
            kind,
            escaped: false,
        };
        within.copy(&[byte], &mut self.kept);
        self.at = At::Within(within);
        Ok(())
    }

    fn value_ends(&mut self, found: &mut impl FnMut(Part<'_>)) {
        if let At::Within(Within { kept: Some((start, limit)), instead, length, .. }) = &self.at {
            if length > limit {
                self.kept.truncate(*start);
                let instead = instead.map_or_else(|| length.to_string(), str::to_owned);
                self.kept.extend_from_slice(instead.as_bytes());
            }
            let took = self.kept.len() - start;
            if let Some(Open::Object { members: Members::Beginning(_, room), .. }) = self.open.last_mut() {
                *room = room.saturating_sub(took);
            }
        }
        self.complete(found);
    }

    fn closes(&mut self, found: &mut impl FnMut(Part<'_>)) {
        match self.open.pop() {
            Some(Open::Object { .. }) => self.kept.push(b'}'),
            Some(Open::List { .. }) => self.kept.push(b']'),
            None => {}
        }
        self.complete(found);
    }

    /// Completes a value.
    fn complete(&mut self, found: &mut impl FnMut(Part<'_>)) {
        match self.open.last() {
            Some(Open::Object { .. }) => self.at = At::Member,
            Some(Open::List { start, .. }) => {
                found(Part::Item(self.kept.get(*start..).unwrap_or_default()));
                self.kept.truncate(*start);
                self.at = At::AfterItem;
            }
            None => {
                found(Part::Whole(&self.kept));
                self.kept.clear();
                self.at = At::Value(Some(self.keep));
            }
        }
    }
}

impl Within {
    /// Consumes the part of `piece` that belongs to the value. Returns the number of bytes, and whether the value is complete.
    fn take(&mut self, piece: &[u8], kept: &mut Vec<u8>) -> (usize, bool) {
        let mut in_text = self.kind == Kind::Text;
        for (place, byte) in piece.iter().enumerate() {
            if in_text {
                match (*byte, self.escaped) {
                    (_, true) => self.escaped = false,
                    (b'\\', false) => self.escaped = true,
                    (b'"', false) => {
                        if self.depth == 0 {
                            return self.ends(piece, place + 1, kept);
                        }
                        (in_text, self.kind) = (false, Kind::Nested);
                    }
                    _ => {}
                }
                continue;
            }
            match (byte, self.kind) {
                (b'"', _) => (in_text, self.kind) = (true, Kind::Text),
                (b'{' | b'[', _) => self.depth = self.depth.saturating_add(1),
                // The character after a word belongs to the enclosing value.
                (b'}' | b']' | b',', Kind::Word) => return self.ends(piece, place, kept),
                (byte, Kind::Word) if byte.is_ascii_whitespace() => return self.ends(piece, place, kept),
                (b'}' | b']', _) => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return self.ends(piece, place + 1, kept);
                    }
                }
                _ => {}
            }
        }
        self.copy(piece, kept);
        (piece.len(), false)
    }

    fn ends(&mut self, piece: &[u8], count: usize, kept: &mut Vec<u8>) -> (usize, bool) {
        self.copy(piece.get(..count).unwrap_or_default(), kept);
        (count, true)
    }

    /// Keeps bytes while the value is within its limit.
    fn copy(&mut self, bytes: &[u8], kept: &mut Vec<u8>) {
        self.length = self.length.saturating_add(bytes.len());
        let Some((start, limit)) = self.kept else { return };
        if self.length <= limit {
            kept.extend_from_slice(bytes);
        } else {
            kept.truncate(start);
        }
    }
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;

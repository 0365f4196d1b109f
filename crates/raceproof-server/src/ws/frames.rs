//! WebSocket frames (RFC 6455, section 5) in a buffer that all connections share: most of them have nothing in theirs
//! most of the time. Takes messages apart and puts them together; reads and writes nothing by itself.

use std::io::Cursor;
use std::ops::ControlFlow;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::Close;

/// What a client sent.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Incoming<'a> {
    Text(&'a str),
    Ping(&'a [u8]),
    Pong,
    /// With the code, if there was one.
    Close(Option<[u8; 2]>),
}

/// Whether more is wanted for now, or why nothing more will be.
pub(super) type Taken = Result<ControlFlow<()>, Option<Close>>;

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The pieces of a message that is not complete.
    pieces: Option<Vec<u8>>,
    /// The longest message, in one piece or in many.
    bytes_max: usize,
}

/// A whole frame.
struct Frame<'a> {
    header: FrameHeader,
    payload: &'a [u8],
}

impl Decoder {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { pieces: None, bytes_max }
    }

    /// Hands every message that is complete in `bytes` to `take`, until that wants no more for now. Gives the number of
    /// bytes that are done with; those behind them are the beginning of a frame, or were not wanted. Unmasks in place
    /// what it is done with.
    pub(super) fn decode(
        &mut self,
        bytes: &mut [u8],
        mut take: impl FnMut(Incoming<'_>) -> Taken,
    ) -> Result<usize, Option<Close>> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..)
            && let Some((frame, length)) = whole_frame(rest, self.bytes_max)?
        {
            done += length;
            let more = match frame.header.opcode {
                OpCode::Data(kind) => self.data(kind, &frame, &mut take)?,
                OpCode::Control(Control::Ping) => take(Incoming::Ping(frame.payload))?,
                OpCode::Control(Control::Close) => take(Incoming::Close(frame.payload.first_chunk().copied()))?,
                OpCode::Control(_) => take(Incoming::Pong)?,
            };
            if more.is_break() {
                break;
            }
        }
        Ok(done)
    }

    fn data(&mut self, kind: Data, frame: &Frame<'_>, take: &mut impl FnMut(Incoming<'_>) -> Taken) -> Taken {
        let collected;
        let message = match (kind, self.pieces.take()) {
            (Data::Text, None) if frame.header.is_final => frame.payload,
            (Data::Text, None) => {
                self.pieces = Some(frame.payload.to_vec());
                return Ok(ControlFlow::Continue(()));
            }
            (Data::Continue, Some(mut pieces)) => {
                if pieces.len() + frame.payload.len() > self.bytes_max {
                    return Err(Some(Close::TooBig));
                }
                pieces.extend_from_slice(frame.payload);
                if !frame.header.is_final {
                    self.pieces = Some(pieces);
                    return Ok(ControlFlow::Continue(()));
                }
                collected = pieces;
                &collected
            }
            (Data::Binary, None) => return Err(Some(Close::NotText)),
            _ => return Err(Some(Close::Protocol)),
        };
        take(Incoming::Text(str::from_utf8(message).map_err(|_| Some(Close::NotUtf8))?))
    }
}

/// The frame at the beginning of `bytes` and its length, once it is there as a whole. What must not come is refused by
/// its header.
fn whole_frame(bytes: &mut [u8], bytes_max: usize) -> Result<Option<(Frame<'_>, usize)>, Close> {
    let mut cursor = Cursor::new(&*bytes);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Close::Protocol)? else {
        return Ok(None);
    };
    let start = usize::try_from(cursor.position()).map_err(|_| Close::TooBig)?;
    let reserved = header.rsv1 || header.rsv2 || header.rsv3;
    let (Some(mask), false) = (header.mask, reserved) else { return Err(Close::Protocol) };
    let is_control = matches!(header.opcode, OpCode::Control(_));
    if is_control && (!header.is_final || length > 125) {
        return Err(Close::Protocol);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max).ok_or(Close::TooBig)?;
    let Some(payload) = bytes.get_mut(start..start + length) else { return Ok(None) };
    unmask(payload, mask);
    Ok(Some((Frame { header, payload }, start + length)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let key = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// What begins a frame of the server's: whole, not masked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outgoing {
    Text = 0x81,
    Close = 0x88,
    Ping = 0x89,
    Pong = 0x8a,
}

/// Adds a frame to `out`.
pub(super) fn encode(kind: Outgoing, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame as Peer;

    use super::*;

    const MAX: usize = 70_000;

    fn masked(mut frame: Peer) -> Vec<u8> {
        frame.header_mut().mask = Some([7, 0, 255, 81]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn text(text: &str, opcode: Data, is_final: bool) -> Vec<u8> {
        masked(Peer::message(text.as_bytes().to_vec(), OpCode::Data(opcode), is_final))
    }

    /// What comes of a stream that arrives in two parts.
    fn decode(stream: &[u8], split: usize) -> Result<Vec<String>, Option<Close>> {
        let mut decoder = Decoder::new(MAX);
        let mut left = Vec::new();
        let mut got = Vec::new();
        for part in [&stream[..split], &stream[split..]] {
            left.extend_from_slice(part);
            let done = decoder.decode(&mut left, |message| {
                got.push(format!("{message:?}"));
                Ok(ControlFlow::Continue(()))
            })?;
            left.drain(..done);
        }
        assert_eq!(left, b"", "split at {split}");
        Ok(got)
    }

    #[test]
    fn messages_are_the_same_wherever_the_stream_is_split() {
        let long = "x".repeat(126);
        let stream = [
            text("{\"seq\":1}", Data::Text, true),
            text("pie", Data::Text, false),
            masked(Peer::ping(b"now".to_vec())),
            text("c", Data::Continue, false),
            text("es \u{2713}", Data::Continue, true),
            masked(Peer::pong(b"".to_vec())),
            text(&long, Data::Text, true),
            masked(Peer::close(None)),
        ]
        .concat();
        let wanted = [
            "Text(\"{\\\"seq\\\":1}\")",
            "Ping([110, 111, 119])",
            "Text(\"pieces \u{2713}\")",
            "Pong",
            &format!("Text({long:?})"),
            "Close(None)",
        ];
        for split in 0..=stream.len() {
            assert_eq!(decode(&stream, split).unwrap(), wanted);
        }
    }

    #[test]
    fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
        let (most, more) = ("y".repeat(MAX), "y".repeat(MAX + 1));
        assert_eq!(decode(&text(&most, Data::Text, true), 9).unwrap().len(), 1);
        assert_eq!(decode(&text(&more, Data::Text, true), 9), Err(Some(Close::TooBig)));
        let pieces = [text(&most, Data::Text, false), text("y", Data::Continue, true)].concat();
        assert_eq!(decode(&pieces, 9), Err(Some(Close::TooBig)));
    }

    #[test]
    fn what_is_written_is_read_by_others() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'z'; length];
            let mut bytes = Vec::new();
            encode(Outgoing::Text, &payload, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let (header, announced) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!((header.opcode, header.is_final, header.mask), (OpCode::Data(Data::Text), true, None));
            assert_eq!(announced, length as u64);
            assert_eq!(&bytes[usize::try_from(cursor.position()).unwrap()..], payload);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_none_are_used_twice() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
            if let Some(first) = bytes.first_mut() {
                *first &= 0x8b;
            }
            if let Some(second) = bytes.get_mut(1) {
                *second |= 0x80;
            }
            let length = bytes.len();
            if let Ok(done) = Decoder::new(30).decode(&mut bytes, |_| Ok(ControlFlow::Continue(()))) {
                assert!(done <= length);
            }
        }
    }
}

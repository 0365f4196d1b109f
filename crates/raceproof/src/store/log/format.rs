//! The bytes of segments and snapshots. `docs/store.md` has the same as tables; version 1.
//!
//! Decoders take any bytes and never panic.

use crc32fast::Hasher;
use raceproof_core::id::Lsn;

use crate::store::identity::StoreId;

/// The version this program writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;
/// A disk writes this much whole or not at all; everything about torn writes rests on it.
pub(crate) const SECTOR: usize = 512;
/// A segment's header has a block of its own, so that no later write touches it.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
pub(crate) const SNAPSHOT_HEADER_BYTES: usize = 68;
/// What a frame has before its payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"RPSEGMNT";
const SNAPSHOT_MAGIC: [u8; 8] = *b"RPSNAPSH";

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Newer { found: u32 },
    Damaged(&'static str),
    OtherStore,
}

/// A segment's header: which store's, and which of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: StoreId,
    pub(crate) seq: u64,
    /// Size of the whole file.
    pub(crate) bytes: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend(SEGMENT_MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.store.0.to_le_bytes());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.bytes.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out.resize(SEGMENT_HEADER_BYTES, 0);
        out
    }

    pub(crate) fn decode(bytes: &[u8], store: StoreId) -> Result<Self, HeaderError> {
        let mut fields = Fields::header(bytes, &SEGMENT_MAGIC)?;
        let header = Self { store: StoreId(fields.u128()?), seq: fields.u64()?, bytes: fields.u64()? };
        fields.checked(store, header.store)?;
        Ok(header)
    }
}

/// A snapshot's header; the payload follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) store: StoreId,
    /// What the snapshot stands for.
    pub(crate) lsn: Lsn,
    /// The segment where the log goes on behind it, and the first record of that segment.
    pub(crate) seq: u64,
    pub(crate) seq_first_lsn: Lsn,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_crc: u32,
}

impl SnapshotHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES);
        out.extend(SNAPSHOT_MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.store.0.to_le_bytes());
        out.extend(self.lsn.as_u64().to_le_bytes());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.seq_first_lsn.as_u64().to_le_bytes());
        out.extend(self.payload_bytes.to_le_bytes());
        out.extend(self.payload_crc.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8], store: StoreId) -> Result<Self, HeaderError> {
        let mut fields = Fields::header(bytes, &SNAPSHOT_MAGIC)?;
        let header = Self {
            store: StoreId(fields.u128()?),
            lsn: Lsn::new(fields.u64()?),
            seq: fields.u64()?,
            seq_first_lsn: Lsn::new(fields.u64()?),
            payload_bytes: fields.u64()?,
            payload_crc: fields.u32()?,
        };
        fields.checked(store, header.store)?;
        Ok(header)
    }
}

/// Reads little-endian numbers one after the other.
struct Fields<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

const SHORT: HeaderError = HeaderError::Damaged("the file ends within its header");

impl<'a> Fields<'a> {
    /// Checks what every version begins with.
    fn header(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Self, HeaderError> {
        let mut fields = Self { all: bytes, rest: bytes };
        if fields.take::<8>()? != *magic {
            return Err(HeaderError::Damaged("the magic bytes are wrong"));
        }
        match fields.u32()? {
            FORMAT => Ok(fields),
            // A later version is told from rot by nothing but its number; an absurd one is rot.
            found @ 2..=0xffff => Err(HeaderError::Newer { found }),
            _ => Err(HeaderError::Damaged("the format version is not one")),
        }
    }

    /// The checksum of everything that was read comes next, and the store must be ours.
    fn checked(mut self, ours: StoreId, found: StoreId) -> Result<(), HeaderError> {
        let covered = self.all.len() - self.rest.len();
        let crc = self.all.get(..covered).map(crc32fast::hash);
        if Some(self.u32()?) != crc {
            return Err(HeaderError::Damaged("the header's checksum is wrong"));
        }
        if ours == found { Ok(()) } else { Err(HeaderError::OtherStore) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.take().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, HeaderError> {
        self.take().map(u128::from_le_bytes)
    }
}

/// A record in a segment, or a mark that says how far the log is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The record's position; a mark's is that of the record before it.
    pub(crate) lsn: Lsn,
    /// What was durable when this was written. A mark is a frame whose own position is.
    pub(crate) flushed: Lsn,
    pub(crate) payload: &'a [u8],
    /// How far to the next frame.
    pub(crate) bytes: usize,
}

impl Frame<'_> {
    pub(crate) fn is_mark(&self) -> bool {
        self.flushed == self.lsn
    }
}

/// Writes and reads the frames of one segment. Frames of another segment, or of another store, do not pass its
/// checksum: what a recycled file held before can never be taken for a record.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    salted: Hasher,
}

impl Frames {
    pub(crate) fn new(store: StoreId, seq: u64) -> Self {
        let mut salted = Hasher::new();
        salted.update(&store.0.to_le_bytes());
        salted.update(&seq.to_le_bytes());
        Self { salted }
    }

    /// The space that a payload takes.
    pub(crate) fn bytes(payload_bytes: usize) -> usize {
        (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGN)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, lsn: Lsn, flushed: Lsn, payload: &[u8]) {
        let start = out.len();
        let len = u32::try_from(payload.len()).expect("the limit on records is below 4 GiB");
        out.extend([0; 4]);
        out.extend(len.to_le_bytes());
        out.extend(lsn.as_u64().to_le_bytes());
        out.extend(flushed.as_u64().to_le_bytes());
        out.extend(payload);
        out.resize(start + Self::bytes(payload.len()), 0);
        let mut hasher = self.salted.clone();
        hasher.update(out.get(start + 4..).unwrap_or_default());
        if let Some(crc) = out.get_mut(start..start + 4) {
            crc.copy_from_slice(&hasher.finalize().to_le_bytes());
        }
    }

    /// The frame at the beginning of `bytes`, if there is a whole one.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (lsn, rest) = rest.split_first_chunk::<8>()?;
        let (flushed, rest) = rest.split_first_chunk::<8>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let lsn = Lsn::new(u64::from_le_bytes(*lsn));
        let flushed = Lsn::new(u64::from_le_bytes(*flushed));
        // Cheap tests first: a search tries every position of a segment.
        if flushed > lsn || len > bytes.len() || (flushed == lsn && len > 0) {
            return None;
        }
        let payload = rest.get(..len)?;
        let total = Self::bytes(len);
        let mut hasher = self.salted.clone();
        hasher.update(bytes.get(4..total)?);
        if hasher.finalize() != u32::from_le_bytes(*crc) {
            return None;
        }
        Some(Frame { lsn, flushed, payload, bytes: total })
    }

    /// The position that the frame at the beginning of `bytes` says it has, whatever else is wrong with it.
    pub(crate) fn claimed_lsn(bytes: &[u8]) -> Option<Lsn> {
        let lsn = bytes.get(8..16)?.first_chunk::<8>()?;
        Some(Lsn::new(u64::from_le_bytes(*lsn)))
    }

    /// How long the frame at the beginning of `bytes` says it is, whatever else is wrong with it.
    pub(crate) fn claimed_bytes(bytes: &[u8]) -> Option<usize> {
        let len = bytes.get(4..8)?.first_chunk::<4>()?;
        Some(Self::bytes(usize::try_from(u32::from_le_bytes(*len)).ok()?))
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    // A word at a time through `align_to` would be unsafe; chunks of 64 are what the compiler vectorises.
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The checksum of a snapshot's payload.
pub(crate) fn payload_crc(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STORE: StoreId = StoreId(0xfeed);

    fn encoded(seq: u64, lsn: u64, flushed: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Frames::new(STORE, seq).encode(&mut out, Lsn::new(lsn), Lsn::new(flushed), payload);
        out
    }

    #[test]
    fn headers_are_read_back_and_any_changed_byte_is_noticed() {
        let segment = SegmentHeader { store: STORE, seq: 3, bytes: 1 << 22 };
        assert_eq!(SegmentHeader::decode(&segment.encode(), STORE), Ok(segment));
        let snapshot = SnapshotHeader {
            store: STORE,
            lsn: Lsn::new(9),
            seq: 3,
            seq_first_lsn: Lsn::new(4),
            payload_bytes: 100,
            payload_crc: 7,
        };
        assert_eq!(SnapshotHeader::decode(&snapshot.encode(), STORE), Ok(snapshot));
        for at in 0..48 {
            let mut changed = segment.encode();
            changed[at] ^= 1;
            assert!(SegmentHeader::decode(&changed, STORE).is_err(), "byte {at}");
        }
        for at in 0..SNAPSHOT_HEADER_BYTES {
            let mut changed = snapshot.encode();
            changed[at] ^= 1;
            assert!(SnapshotHeader::decode(&changed, STORE).is_err(), "byte {at}");
        }
        assert_eq!(SegmentHeader::decode(&segment.encode(), StoreId(1)), Err(HeaderError::OtherStore));
    }

    #[test]
    fn a_frame_of_another_segment_is_none_of_this_one() {
        let frame = encoded(1, 5, 4, b"payload");
        assert!(Frames::new(STORE, 1).decode(&frame).is_some());
        assert!(Frames::new(STORE, 2).decode(&frame).is_none());
        assert!(Frames::new(StoreId(1), 1).decode(&frame).is_none());
    }

    #[test]
    fn marks_are_told_from_records() {
        let mark = encoded(1, 5, 5, b"");
        assert!(Frames::new(STORE, 1).decode(&mark).unwrap().is_mark());
        assert!(!Frames::new(STORE, 1).decode(&encoded(1, 5, 4, b"")).unwrap().is_mark());
    }

    proptest! {
        #[test]
        fn a_frame_is_read_back(lsn in 1_u64.., behind in 1_u64.., payload in prop::collection::vec(any::<u8>(), 0..600)) {
            let flushed = lsn.saturating_sub(behind);
            let bytes = encoded(7, lsn, flushed, &payload);
            let frame = Frames::new(STORE, 7).decode(&bytes).unwrap();
            prop_assert_eq!(frame.lsn, Lsn::new(lsn));
            prop_assert_eq!(frame.flushed, Lsn::new(flushed));
            prop_assert_eq!(frame.payload, &payload[..]);
            prop_assert_eq!(frame.bytes, bytes.len());
        }

        #[test]
        fn a_changed_or_cut_frame_is_none(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            change in 1_u8..,
        ) {
            let bytes = encoded(7, 3, 2, &payload);
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= change;
            prop_assert_eq!(Frames::new(STORE, 7).decode(&changed), None);
            prop_assert_eq!(Frames::new(STORE, 7).decode(&bytes[..at]), None);
        }

        #[test]
        fn decoders_take_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            prop_assert_eq!(Frames::new(STORE, 7).decode(&bytes), None);
            let _ = Frames::claimed_bytes(&bytes);
            if magic && bytes.len() > 12 {
                bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
                bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
                prop_assert!(SegmentHeader::decode(&bytes, STORE).is_err());
                bytes[..8].copy_from_slice(&SNAPSHOT_MAGIC);
            }
            prop_assert!(SnapshotHeader::decode(&bytes, STORE).is_err());
        }

        #[test]
        fn blank_means_all_zero(len in 0_usize..300, at in prop::option::of(0_usize..300)) {
            let mut bytes = vec![0; len];
            let hit = at.and_then(|at| bytes.get_mut(at)).map(|byte| *byte = 1).is_some();
            prop_assert_eq!(is_blank(&bytes), !hit);
        }
    }
}

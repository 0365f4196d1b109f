//! The file that says which store a directory is: format version, kind, and a random id that every other file
//! repeats, so that files of two stores cannot be mixed up.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use super::disk::Disk;
use super::error::{LoadError, OpenError, WriteError};
use super::log::FORMAT;
use super::{Kind, disk::OsDisk};

/// The file's name. A temporary file of the same name with `.tmp` becomes it.
pub(crate) const IDENTITY_FILE: &str = "raceproof-store";
const IDENTITY_TMP: &str = "raceproof-store.tmp";

/// Tells one store from another. Also the salt of the log's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreId(pub(crate) u128);

impl StoreId {
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
        Ok(Self(u128::from_le_bytes(bytes)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) id: StoreId,
}

impl Identity {
    fn to_text(self) -> String {
        let body = format!("raceproof store\nformat {FORMAT}\nkind {}\nid {:032x}\n", self.kind, self.id.0);
        let crc = crc32fast::hash(body.as_bytes());
        format!("{body}crc {crc:08x}\n")
    }

    fn from_text(text: &[u8]) -> Result<Self, IdentityFault> {
        const DAMAGED: IdentityFault = IdentityFault::Damaged;
        let text = std::str::from_utf8(text).map_err(|_| DAMAGED)?;
        let rest = text.strip_prefix("raceproof store\nformat ").ok_or(DAMAGED)?;
        let (format, rest) = rest.split_once('\n').ok_or(DAMAGED)?;
        match u32::from_str(format).map_err(|_| DAMAGED)? {
            FORMAT => {}
            found @ 2.. => return Err(IdentityFault::Newer(found)),
            0 => return Err(DAMAGED),
        }
        let (kind, rest) = rest.strip_prefix("kind ").and_then(|rest| rest.split_once('\n')).ok_or(DAMAGED)?;
        let (id, _) = rest.strip_prefix("id ").and_then(|rest| rest.split_once('\n')).ok_or(DAMAGED)?;
        let identity = Self {
            kind: kind.parse().map_err(|_| DAMAGED)?,
            id: StoreId(u128::from_str_radix(id, 16).map_err(|_| DAMAGED)?),
        };
        // One way to write it, so comparing with that checks everything, the checksum with it.
        if identity.to_text() == text { Ok(identity) } else { Err(DAMAGED) }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum IdentityFault {
    Newer(u32),
    Damaged,
}

/// Makes the directory of a store if it is not there. While it holds no store, sees to it that its own name is durable:
/// a store that vanished with its directory would look like one that never was, and tokens would start over (L2).
pub(crate) fn make_dir(dir: &Path) -> Result<(), LoadError> {
    std::fs::create_dir_all(dir).map_err(|error| LoadError::io("create", dir, error))?;
    if dir.join(IDENTITY_FILE).exists() {
        return Ok(());
    }
    let dir = dir.canonicalize().map_err(|error| LoadError::io("find", dir, error))?;
    for above in dir.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            Ok(()) => {}
            // What we may not read we have not made, and not every file system has something to sync.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {}
            Err(error) => return Err(LoadError::io("sync", above, error)),
        }
    }
    Ok(())
}

/// Reads the identity; `None` if the file is not there.
pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Identity>, LoadError> {
    let path = disk.path(IDENTITY_FILE);
    let text = match disk.read(IDENTITY_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LoadError::io("read", &path, error)),
    };
    Identity::from_text(&text).map(Some).map_err(|fault| match fault {
        IdentityFault::Newer(found) => LoadError::NewerFormat { path, found, supported: FORMAT },
        IdentityFault::Damaged => LoadError::Corrupt { path, offset: 0, detail: "not the identity of a store".into() },
    })
}

/// Writes the identity, the last step of making a store.
pub(crate) fn write(disk: &dyn Disk, identity: Identity) -> Result<(), WriteError> {
    let path = disk.path(IDENTITY_FILE);
    let fail = |error| WriteError::io("create", &path, error);
    let file = disk.open(IDENTITY_TMP).map_err(fail)?;
    let text = identity.to_text();
    file.set_size(text.len() as u64).map_err(fail)?;
    file.write_at(text.as_bytes(), 0).map_err(fail)?;
    file.sync().map_err(fail)?;
    disk.rename(IDENTITY_TMP, IDENTITY_FILE).map_err(fail)?;
    disk.sync_dir().map_err(fail)
}

/// The kind of the store in `dir`, if there is a store.
pub(crate) fn peek(dir: &Path) -> Result<Option<Kind>, OpenError> {
    Ok(read(&OsDisk::new(dir))?.map(|identity| identity.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Identity = Identity { kind: Kind::Log, id: StoreId(0x1234) };

    #[test]
    fn an_identity_is_read_back() {
        assert_eq!(Identity::from_text(SAMPLE.to_text().as_bytes()), Ok(SAMPLE));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let text = SAMPLE.to_text().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(Identity::from_text(&changed).is_err(), "byte {at}");
        }
        assert!(Identity::from_text(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn a_newer_format_is_refused_as_such_whatever_follows() {
        let text = b"raceproof store\nformat 2\nanything";
        assert_eq!(Identity::from_text(text), Err(IdentityFault::Newer(2)));
    }
}

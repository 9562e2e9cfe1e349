//! Makes tars, also bad ones.

/// A tar that is being written.
#[derive(Default)]
pub(crate) struct Tarball {
    bytes: Vec<u8>,
    records: Vec<u8>,
    owner: (u32, u32),
    mode: Option<u32>,
    mtime: u64,
}

impl Tarball {
    pub(crate) fn new() -> Self {
        Self { mtime: 1_600_000_000, ..Self::default() }
    }

    /// Adds a PAX record to the next entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        self.records.extend([format!("{length} {key}=").as_bytes(), value, b"\n"].concat());
        self
    }

    /// Sets owner and group of the following entries.
    pub(crate) fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Sets the mode of the next entry.
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, b'0', "", data)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, b'5', "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', target, b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', target, b"")
    }

    pub(crate) fn entry(mut self, name: &str, kind: u8, link: &str, data: &[u8]) -> Self {
        if name.len() > 100 {
            self = self.pax("path", name.as_bytes());
        }
        if link.len() > 100 {
            self = self.pax("linkpath", link.as_bytes());
        }
        if !self.records.is_empty() {
            let records = std::mem::take(&mut self.records);
            self.header("PaxHeader", b'x', "", records.len(), 0o644);
            self.data(&records);
        }
        let mode = self.mode.take().unwrap_or(if kind == b'5' { 0o755 } else { 0o644 });
        self.header(name, kind, link, data.len(), mode);
        self.data(data);
        self
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a header")]
    fn header(&mut self, name: &str, kind: u8, link: &str, size: usize, mode: u32) {
        let mut block = [0_u8; 512];
        let mut put = |offset: usize, bytes: &[u8], most: usize| {
            let bytes = &bytes[..bytes.len().min(most)];
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, name.as_bytes(), 100);
        put(100, format!("{mode:07o}").as_bytes(), 7);
        put(108, format!("{:07o}", self.owner.0).as_bytes(), 7);
        put(116, format!("{:07o}", self.owner.1).as_bytes(), 7);
        put(124, format!("{size:011o}").as_bytes(), 11);
        put(136, format!("{:011o}", self.mtime).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[kind], 1);
        put(157, link.as_bytes(), 100);
        put(257, b"ustar\x0000", 8);
        if matches!(kind, b'3' | b'4') {
            put(329, b"0000001", 7);
            put(337, b"0000003", 7);
        }
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend_from_slice(&block);
    }

    fn data(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// Ends the archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

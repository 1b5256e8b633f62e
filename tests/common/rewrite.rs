//! GGUF files taken apart and put together again: other keys, several parts.

/// A key's value with its type, as it stands in the file.
type Raw = Vec<u8>;

/// A file in pieces.
#[derive(Clone)]
pub struct Pieces {
    pub keys: Vec<(String, Raw)>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    shape: Vec<u64>,
    kind: u32,
    data: Vec<u8>,
}

const ALIGN: usize = 32;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl Pieces {
    pub fn of(file: &[u8]) -> Self {
        let mut at = Reader { file, at: 8 };
        let (n_tensors, n_keys) = (at.u64(), at.u64());
        let keys = (0..n_keys).map(|_| {
            let name = at.text();
            let start = at.at;
            let kind = at.u32();
            at.value(kind);
            (name, file[start..at.at].to_vec())
        });
        let keys = keys.collect();
        let infos: Vec<_> = (0..n_tensors)
            .map(|_| {
                let name = at.text();
                let n = at.u32();
                let shape: Vec<u64> = (0..n).map(|_| at.u64()).collect();
                (name, shape, at.u32(), at.u64() as usize)
            })
            .collect();
        let data = &file[at.at.next_multiple_of(ALIGN)..];
        let ends = |from: usize| {
            let later = infos.iter().map(|info| info.3).filter(|at| *at > from);
            later.min().unwrap_or(data.len())
        };
        let tensors = infos.iter().map(|(name, shape, kind, offset)| Tensor {
            name: name.clone(),
            shape: shape.clone(),
            kind: *kind,
            data: data[*offset..ends(*offset)].to_vec(),
        });
        Self {
            keys,
            tensors: tensors.collect(),
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        for (name, value) in &self.keys {
            bytes.extend(text(name));
            bytes.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            bytes.extend(text(&tensor.name));
            bytes.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor
                .shape
                .iter()
                .for_each(|n| bytes.extend(n.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(ALIGN), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes.extend(data);
        bytes
    }

    /// Makes the tensors zero whose names are to be silent.
    pub fn silence(&mut self, is_silent: impl Fn(&str) -> bool) {
        let tensors = self.tensors.iter_mut();
        let found = tensors.filter(|tensor| is_silent(&tensor.name));
        assert!(found.map(|tensor| tensor.data.fill(0)).count() > 0);
    }

    /// The values of a tensor of F32, where there is one of the name.
    pub fn f32s(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.tensors.iter().find(|t| t.name == name)?;
        assert_eq!(tensor.kind, 0, "F32");
        let n = tensor.shape.iter().product::<u64>() as usize;
        let values = tensor.data.as_chunks::<4>().0;
        Some(values[..n].iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    pub fn remove(&mut self, key: &str) {
        self.keys.retain(|(name, _)| name != key);
    }

    fn set(&mut self, key: &str, kind: u32, value: impl AsRef<[u8]>) {
        let raw = [&kind.to_le_bytes()[..], value.as_ref()].concat();
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = raw,
            None => self.keys.push((key.to_string(), raw)),
        }
    }

    pub fn set_u16(&mut self, key: &str, value: u16) {
        self.set(key, 2, value.to_le_bytes());
    }

    pub fn set_u32(&mut self, key: &str, value: u32) {
        self.set(key, 4, value.to_le_bytes());
    }

    pub fn set_i32(&mut self, key: &str, value: i32) {
        self.set(key, 5, value.to_le_bytes());
    }

    pub fn set_bool(&mut self, key: &str, value: bool) {
        self.set(key, 7, [u8::from(value)]);
    }

    pub fn set_f32s(&mut self, key: &str, values: &[f32]) {
        let mut raw = 6u32.to_le_bytes().to_vec();
        raw.extend((values.len() as u64).to_le_bytes());
        values
            .iter()
            .for_each(|value| raw.extend(value.to_le_bytes()));
        self.set(key, ARRAY, raw);
    }

    pub fn set_text(&mut self, key: &str, value: &str) {
        self.set(key, STRING, text(value));
    }

    pub fn set_texts(&mut self, key: &str, values: &[String]) {
        let mut raw = STRING.to_le_bytes().to_vec();
        raw.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| raw.extend(text(value)));
        self.set(key, ARRAY, raw);
    }

    pub fn set_i32s(&mut self, key: &str, values: &[i32]) {
        let mut raw = 5u32.to_le_bytes().to_vec();
        raw.extend((values.len() as u64).to_le_bytes());
        values
            .iter()
            .for_each(|value| raw.extend(value.to_le_bytes()));
        self.set(key, ARRAY, raw);
    }

    /// The model in so many parts, with so many tensors in the first ones and the rest in the
    /// last. As llama.cpp's tool does it, all metadata are in the first.
    pub fn split(&self, first: &[usize]) -> Vec<Pieces> {
        let mut tensors = self.tensors.clone();
        let mut parts: Vec<Pieces> = Vec::new();
        for n in first.iter().map(Some).chain([None]) {
            let rest = n.map_or(vec![], |n| tensors.split_off(*n));
            parts.push(Pieces {
                keys: if parts.is_empty() {
                    self.keys.clone()
                } else {
                    vec![]
                },
                tensors: std::mem::replace(&mut tensors, rest),
            });
        }
        let n = parts.len() as u16;
        for (no, part) in parts.iter_mut().enumerate() {
            part.set_u16("split.no", no as u16);
            part.set_u16("split.count", n);
            part.set_i32("split.tensors.count", self.tensors.len() as i32);
        }
        parts
    }

    /// A tokenizer of the kind of GPT-2 for 260 tokens, without `tokenizer.ggml.pre`.
    pub fn with_bpe(mut self) -> Self {
        let plain = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let mut other = 256u32..;
        let mut tokens: Vec<String> = (0..=255u8)
            .map(|byte| match plain(&byte) {
                true => char::from(byte).to_string(),
                false => char::from_u32(other.next().unwrap()).unwrap().to_string(),
            })
            .collect();
        tokens.extend(["<end>", "\u{120}t", "he", "\u{120}the"].map(String::from));
        let mut types = vec![1; 260];
        types[256] = 3;
        let merges = ["\u{120} t", "h e", "\u{120}t he"].map(String::from);
        self.remove("tokenizer.ggml.pre");
        self.remove("tokenizer.ggml.scores");
        self.set_text("tokenizer.ggml.model", "gpt2");
        self.set_texts("tokenizer.ggml.tokens", &tokens);
        self.set_texts("tokenizer.ggml.merges", &merges);
        self.set_i32s("tokenizer.ggml.token_type", &types);
        for id in ["bos", "eos"] {
            self.set_u32(&format!("tokenizer.ggml.{id}_token_id"), 256);
        }
        self
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

struct Reader<'f> {
    file: &'f [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.file[self.at..self.at + N].try_into().unwrap();
        self.at += N;
        bytes
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn text(&mut self) -> String {
        let n = self.u64() as usize;
        self.at += n;
        String::from_utf8(self.file[self.at - n..self.at].to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) {
        match kind {
            STRING => drop(self.text()),
            ARRAY => {
                let (kind, n) = (self.u32(), self.u64());
                (0..n).for_each(|_| self.value(kind));
            }
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            10..=12 => self.at += 8,
            _ => self.at += 4,
        }
    }
}

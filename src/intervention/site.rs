//! The hook points: rows of what a manipulation rewrites.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;

/// Where a manipulation acts, written and stored as `residual`, `attn_out`, `heads:3,7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Site {
    /// The residual stream: the state entering a layer, and with it everything above.
    Residual,
    /// What a layer's attention adds to the residual stream.
    AttnOut,
    /// What a layer's MLP adds to the residual stream.
    MlpOut,
    /// The rows that attention's output projection reads: what each head has gathered, one head
    /// after the other.
    Heads(HeadSet),
    /// The keys that a layer keeps in the cache, after rotary embedding. The token's own
    /// residual stream stays as it is.
    Keys,
    /// The values that a layer keeps in the cache. The token's own residual stream stays as it
    /// is.
    Values,
}

/// What users write, and the sites it means.
const WRITTEN: [(&str, &[Site]); 10] = [
    ("residual", &[Site::Residual]),
    ("resid_pre", &[Site::Residual]),
    ("attn_out", &[Site::AttnOut]),
    ("mlp_out", &[Site::MlpOut]),
    ("heads", &[Site::HEADS]),
    ("k", &[Site::Keys]),
    ("keys", &[Site::Keys]),
    ("v", &[Site::Values]),
    ("values", &[Site::Values]),
    ("kv", &[Site::Keys, Site::Values]),
];

impl Site {
    /// All heads.
    pub const HEADS: Site = Site::Heads(HeadSet::ALL);

    /// One of each kind.
    pub const ALL: [Site; 6] = [
        Site::Residual,
        Site::AttnOut,
        Site::MlpOut,
        Site::HEADS,
        Site::Keys,
        Site::Values,
    ];

    /// What all manipulations of single rows can rewrite, whatever its width.
    pub const ANY: &'static [Site] = &Self::ALL;

    /// What is as wide as the residual stream, and a direction in it can be added to.
    pub const STREAM: &'static [Site] = &[Site::Residual, Site::AttnOut, Site::MlpOut];

    /// What of a layer is rewritten.
    pub fn target(self) -> Target {
        match self {
            Site::Residual => Target::Input,
            Site::AttnOut => Target::Attention,
            Site::MlpOut => Target::Mlp,
            Site::Heads(_) => Target::Heads,
            Site::Keys => Target::Keys,
            Site::Values => Target::Values,
        }
    }

    /// Whether its rows are entries of the cache.
    pub fn is_cached(self) -> bool {
        matches!(self, Site::Keys | Site::Values)
    }

    /// Whether both are the same but for the heads chosen.
    pub fn is_kind_of(self, other: Site) -> bool {
        self.target() == other.target()
    }

    /// The heads that are rewritten, where not all are.
    pub fn some_heads(self) -> Option<HeadSet> {
        match self {
            Site::Heads(heads) if heads != HeadSet::ALL => Some(heads),
            _ => None,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Site::Residual => "residual",
            Site::AttnOut => "attn_out",
            Site::MlpOut => "mlp_out",
            Site::Heads(heads) if *heads == HeadSet::ALL => "heads",
            Site::Heads(heads) => return write!(f, "heads:{heads}"),
            Site::Keys => "keys",
            Site::Values => "values",
        })
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Sites>()?.0[..] {
            [site] => Ok(site),
            _ => Err(format!("'{text}' is two sites; choose keys or values")),
        }
    }
}

impl TryFrom<String> for Site {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        site.to_string()
    }
}

/// Sites as users ask for them: one, or `kv` for keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sites(pub Vec<Site>);

impl FromStr for Sites {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, sites)) = WRITTEN.iter().find(|(name, _)| *name == text) {
            return Ok(Self(sites.to_vec()));
        }
        if let Some(heads) = text.strip_prefix("heads:") {
            return Ok(Self(vec![Site::Heads(heads.parse()?)]));
        }
        Err(format!(
            "'{text}' is not a site; choose residual, attn_out, mlp_out, heads, k, v or kv (some heads: heads:3,7)"
        ))
    }
}

impl fmt::Display for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0[..] {
            [only] => only.fmt(f),
            _ => f.write_str("kv"),
        }
    }
}

/// Heads of queries by number, written as `3,7` or `0-3,7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadSet([u64; 4]);

/// Heads that can be told apart. (Falcon 180B has 232.)
const MOST: u32 = 256;

impl HeadSet {
    /// Every head, however many there are.
    pub const ALL: HeadSet = HeadSet([u64::MAX; 4]);

    /// The heads of these numbers; those from 256 up are left out.
    pub fn of(heads: impl IntoIterator<Item = u32>) -> Self {
        let mut bits = [0; 4];
        for head in heads.into_iter().filter(|head| *head < MOST) {
            bits[head as usize / 64] |= 1 << (head % 64);
        }
        Self(bits)
    }

    /// Whether a head is one of them.
    pub fn contains(&self, head: usize) -> bool {
        let bits = self.0.get(head / 64);
        *self == Self::ALL || bits.is_some_and(|bits| bits >> (head % 64) & 1 == 1)
    }

    /// The highest of them; `None` of all.
    pub fn highest(&self) -> Option<usize> {
        let mut down = (0..MOST as usize).rev();
        down.find(|head| self.contains(*head))
            .filter(|_| *self != Self::ALL)
    }
}

impl fmt::Display for HeadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut head = 0;
        while head < MOST as usize {
            let n = (head..MOST as usize)
                .take_while(|head| self.contains(*head))
                .count();
            if n > 0 {
                let comma = if first { "" } else { "," };
                match n {
                    1 => write!(f, "{comma}{head}")?,
                    _ => write!(f, "{comma}{head}-{}", head + n - 1)?,
                }
                first = false;
            }
            head += n.max(1);
        }
        Ok(())
    }
}

impl fmt::Debug for HeadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HeadSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut heads = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                (Ok(first), Ok(last)) if first <= last && last < MOST => heads.extend(first..=last),
                _ => {
                    return Err(format!(
                        "'{part}' is no head; heads are numbers below {MOST}, as in heads:3,7 or heads:0-3"
                    ));
                }
            }
        }
        Ok(Self::of(heads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_written_as_they_are_read() {
        for site in Site::ALL {
            assert_eq!(site.to_string().parse(), Ok(site));
        }
        let some: Site = "heads:7,3,0-2".parse().unwrap();
        assert_eq!(some.to_string(), "heads:0-3,7");
        assert_eq!(some, Site::Heads(HeadSet::of([0, 1, 2, 3, 7])));
        assert!(some.is_kind_of(Site::HEADS) && some != Site::HEADS);
        assert_eq!("kv".parse(), Ok(Sites(vec![Site::Keys, Site::Values])));
        for wrong in ["kv", "heads:", "heads:x", "heads:5-3", "heads:256", "mlp"] {
            assert!(wrong.parse::<Site>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_heads_are_however_many_there_are() {
        assert!(HeadSet::ALL.contains(4000) && HeadSet::ALL.highest().is_none());
        let some = HeadSet::of([3, 232]);
        assert!(some.contains(3) && some.contains(232) && !some.contains(4));
        assert!(!some.contains(4000));
        assert_eq!(some.highest(), Some(232));
    }
}

//! The syntax of stacked manipulations.

use std::str::FromStr;

use crate::intervention::{Kind, Needs};

/// Manipulations of one run: `inject@8+freeze`. Those without a layer move with `--layers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack(pub Vec<(Kind, Option<u32>)>);

impl FromStr for Stack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| match part.split_once('@') {
            None => Ok((part.parse()?, None)),
            Some((kind, layer)) => match layer.parse() {
                Ok(layer) => Ok((kind.parse()?, Some(layer))),
                Err(_) => Err(format!("'{layer}' after @ is not a layer")),
            },
        };
        text.split('+')
            .map(one)
            .collect::<Result<_, String>>()
            .map(Stack)
    }
}

impl Stack {
    /// Whether every manipulation has its layer.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|(_, layer)| layer.is_some())
    }

    /// The layer at which a run with the moving layer at `layer` is listed; none where the name
    /// holds all of several.
    pub fn layer(&self, layer: u32) -> Option<u32> {
        match &self.0[..] {
            [(_, Some(fixed))] => Some(*fixed),
            _ if self.is_fixed() => None,
            _ => Some(layer),
        }
    }

    /// Whether results depend on a seed.
    pub fn has_seed(&self) -> bool {
        self.0.iter().any(|(kind, _)| kind.has_seed())
    }

    /// Whether one of its manipulations needs this.
    pub fn needs(&self, needs: Needs) -> bool {
        let mut kinds = self.0.iter().map(|(kind, _)| kind.manipulation());
        kinds.any(|of| of.needs() == needs)
    }

    /// As users write it.
    pub fn name(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(kind, layer)| match layer {
                Some(layer) if self.0.len() > 1 => format!("{kind}@{layer}"),
                _ => kind.to_string(),
            })
            .collect();
        parts.join("+")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks() {
        let stack: Stack = "inject@8+freeze".parse().unwrap();
        assert_eq!(stack.0, [(Kind::Inject, Some(8)), (Kind::Freeze, None)]);
        assert!(!stack.is_fixed());
        assert_eq!(stack.name(), "inject@8+freeze");
        assert!("freeze@x".parse::<Stack>().is_err());
        assert!("melt".parse::<Stack>().unwrap_err().contains("choose from"));
    }
}

//! How a map is shown while it is drawn, and once it is.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use super::terminal::{self, Paint};
use super::{placed, write_files};
use crate::cli::args::{Format, MapArgs};
use crate::cli::output::{picture_bar, print, print_painted, width};
use crate::engine::EngineError;
use crate::intervention::Kind;
use crate::maps::{Form, Map, Picture, Told};

/// So many times a map is shown while it grows.
const PICTURES: usize = 20;

/// What is known of a map's picture before the map is drawn.
pub(super) struct Frame {
    /// What is done in a cell.
    pub kind: Kind,
    /// The token of each row, where rows are tokens or steps: its id and its text.
    pub tokens: Vec<(i32, String)>,
    /// What the map shows.
    pub title: String,
    /// What its numbers are.
    pub measure: &'static str,
    /// How many cells make a first picture.
    pub first: usize,
}

impl Frame {
    /// Draws the map by `draw`; on a terminal it grows in place.
    pub fn drawn(
        &self,
        args: &MapArgs,
        draw: impl FnOnce(&mut Told<'_>) -> Result<Map, EngineError>,
    ) -> anyhow::Result<Map> {
        let paint = Paint::of_stdout();
        let bar = picture_bar();
        let grows = args.output == Format::Text && io::stdout().is_terminal() && !bar.is_hidden();
        let drawn = draw(&mut |map, done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            if grows && (done == self.first || done % all.div_ceil(PICTURES) == 0) {
                bar.set_message(terminal::text(&self.picture(map), width(), paint));
            }
            ControlFlow::Continue(())
        });
        bar.finish_and_clear();
        Ok(placed(drawn?, self.kind)?)
    }

    /// The picture of a map.
    pub fn picture<'m>(&'m self, map: &'m Map) -> Picture<'m> {
        Picture {
            map,
            tokens: &self.tokens,
            title: self.title.clone(),
            measure: self.measure,
            across: "layer",
            change: true,
            over: None,
        }
    }
}

/// Prints a picture and writes the files. The inner error is of printing alone.
pub(super) fn show(args: &MapArgs, picture: &Picture<'_>) -> anyhow::Result<anyhow::Result<()>> {
    let printed = match args.output {
        Format::Text => print_painted(&terminal::text(picture, width(), Paint::of_stdout())),
        Format::Json => print(&picture.text(Form::Jsonl)),
    };
    write_files(args, |file| picture.write(file))?;
    Ok(printed)
}

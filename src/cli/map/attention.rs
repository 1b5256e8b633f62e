//! `midlayer map --attention`: what heads weigh tokens by.

use super::terminal::{self, Paint};
use super::{tokens, write_files};
use crate::cli::Usage;
use crate::cli::args::{Format, MapArgs};
use crate::cli::output::{print, print_painted, say, width};
use crate::cli::setup::load;
use crate::cli::tokens::read;
use crate::cli::try_prompt::engine;
use crate::maps::{Attention, AttentionPicture, Form};
use crate::runtime::FlashAttention;

pub fn run(args: &MapArgs) -> anyhow::Result<()> {
    for file in &args.out {
        AttentionPicture::check(file, args.attention.len())
            .map_err(|why| Usage(format!("{why} (--out)")))?;
    }
    let text = args.prompt.prompt.read("-p")?;
    let mut loaded = load(&args.model)?;
    if loaded.options.flash_attention != FlashAttention::Off {
        loaded.options.flash_attention = FlashAttention::Off;
        say("flash attention is off for this run: it gives no weights (-fa off)");
    }
    let mut engine = engine(&loaded)?;
    let prompt = read(&engine, &args.prompt, &text)?;
    if let Some(notice) = loaded.model.facts().length_notice(prompt.tokens.len()) {
        say(&notice);
    }
    let heads: Vec<(u32, u32)> = args
        .attention
        .iter()
        .map(|of| (of.layer, of.head))
        .collect();
    let attention = Attention::of(&mut engine, &prompt, &heads)?;
    let attention = attention.map_err(|why| Usage(format!("{why} (--attention)")))?;
    let all: Vec<u32> = (0..prompt.tokens.len() as u32).collect();
    let rows = tokens(&loaded, &prompt, &all);
    let picture = AttentionPicture {
        attention: &attention,
        tokens: &rows,
        model: loaded.model.facts().name.clone(),
    };
    let printed = match args.output {
        Format::Json => print(&picture.text(Form::Jsonl)),
        Format::Text => {
            let mut text = String::new();
            for (n, head) in attention.heads.iter().enumerate() {
                let gap = if n > 0 { "\n" } else { "" };
                let map = head.map();
                let own = picture.picture(head, &map);
                text.push_str(gap);
                text.push_str(&terminal::text(&own, width(), Paint::of_stdout()));
            }
            print_painted(&text)
        }
    };
    write_files(args, |file| picture.write(file))?;
    printed
}

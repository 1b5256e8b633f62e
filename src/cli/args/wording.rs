//! How texts become prompts.

use clap::Args;

use super::YesNo;
use crate::engine::Wording;
use crate::runtime::ChatDate;

/// How texts become prompts.
#[derive(Args, Clone)]
#[command(next_help_heading = "Prompts")]
pub struct WordingArgs {
    /// Whether special tokens that a text spells out, such as <|im_end|>, are these tokens
    /// [default: yes in try's -p and --inject-from, as in llama.cpp's tools; no in a chat's
    /// message and in tasks' texts, whose template alone has special tokens]
    #[arg(
        long,
        value_enum,
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes"
    )]
    pub parse_special: Option<YesNo>,
    /// The day that a chat template is told, for those that write it
    #[arg(long, value_name = "YYYY-MM-DD", default_value_t = ChatDate::default())]
    pub chat_date: ChatDate,
}

impl WordingArgs {
    /// Whether data may spell out special tokens.
    pub fn in_data(&self) -> bool {
        self.parse_special == Some(YesNo::Yes)
    }

    /// How a text of the command line is worded, in a chat template or as it is.
    pub fn of_argument(&self, chat: bool) -> Wording {
        let given = self.parse_special.map(|given| given == YesNo::Yes);
        Wording {
            chat: chat.then_some(self.chat_date),
            parse_special: given.unwrap_or(!chat),
        }
    }
}

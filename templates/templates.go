// Package templates has the built-in templates of pages and mails and the
// catalogues of messages, as files of the program.
package templates

import "embed"

// FS has the files of this folder, by their paths below it.
//
//go:embed account_closed account_created account_gone approved data_exported email_changed email_in_use emails_changed emails_restored factor_added factor_guessed factor_removed factors_reset invitation locales login_changed login_code mail new_device pages password_changed program_token recovery_few recovery_made recovery_used refused register register_email reset_by_undo reset_password set_password sign_ups test
var FS embed.FS

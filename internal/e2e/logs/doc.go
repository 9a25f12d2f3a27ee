// Package logs tests what a running server writes: that passwords stand in no
// log unless a setting says so, that each line has its exact text, that it is
// Dovecot 2.3's where that has one, and that fail2ban's own filter bans whom it
// should and nobody else.
//
// Tests only. They start whole servers through internal/e2e/harness.
package logs

package rookeryctl

import (
	"strings"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/control"
)

// queryHelp is what the commands say that take a query.
const queryHelp = `

KEY… says which messages: the keys of IMAP's SEARCH as words, all of which must
hold: all, seen, unseen, answered, flagged, deleted, draft (and un…), keyword K,
from T, to T, cc T, bcc T, subject T, header FIELD T, body T, text T, larger 1M,
smaller 10k, before D, on D, since D, sentbefore D, sentsince D, savedbefore D,
older 30d, younger 12h, uid 1:100, guid G, 1:10 (sequence numbers), not KEY,
or KEY KEY, '(' KEY… ')'. D is 2024-02-01, 1-Feb-2024, today, yesterday, or, for a
time ago, 3d.`

// query is a command's that takes one.
type query struct {
	*mailFlags
	boxes []string
}

// withQuery gives a command -u, --mailbox and the help of the keys.
func (a *app) withQuery(c *cobra.Command, boxes string) (*cobra.Command, *query) {
	c.Long += queryHelp
	c, f := a.mail(c)
	q := &query{mailFlags: f}
	c.Flags().StringArrayVarP(&q.boxes, "mailbox", "m", nil, "the `MAILBOX`, or a pattern with * and %; may be given several times"+boxes)
	_ = c.RegisterFlagCompletionFunc("mailbox", a.completeMailboxes(f)) // the flag is there
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return queryWords, cobra.ShellCompDirectiveNoFileComp
	}
	return c, q
}

// queryWords are the keys, for completion.
var queryWords = strings.Fields("all answered bcc before body cc deleted draft flagged from guid header keyword larger not older on or savedbefore savedon savedsince seen " +
	"sentbefore senton sentsince since smaller subject text to uid unanswered undeleted undraft unflagged unkeyword unseen younger")

// options are the request's.
func (q *query) options(more ...string) []string { return append(each("mailbox", q.boxes), more...) }

const allBoxes = " (default: all)"

func (a *app) searchCommand() *cobra.Command {
	c, q := a.withQuery(&cobra.Command{Use: "search -u USER [-m MAILBOX] KEY…", Short: "Find messages: mailbox and UID of each",
		Long: "Find messages and print mailbox and UID of each."}, allBoxes)
	count := c.Flags().Bool("count", false, "only how many there are in each mailbox")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(q.mailFlags, request(toolmsg.Search, args, q.options(on("count", *count))...))
	}
	return c
}

func (a *app) fetchCommand() *cobra.Command {
	c, q := a.withQuery(&cobra.Command{Use: "fetch -u USER [-m MAILBOX] [--fields F,…] KEY…", Short: "Show messages: flags, size, dates, headers, text",
		Long: "Show what is known of messages. Fields: uid, seq, flags, modseq, size, date (INTERNALDATE), saved, guid, uidl, name, from, to, cc, subject, sent (Date:), messageid, hdr, body, text. The last three are shown as text, up to 8 MB; rookeryctl export gives every octet."}, allBoxes)
	fields := c.Flags().StringSliceP("fields", "f", nil, "which `FIELDS` (default uid,flags,size,date,from,subject)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(q.mailFlags, request(toolmsg.Fetch, args, q.options(each("field", *fields)...)...))
	}
	return c
}

// changing is a command that changes what a query names. before are the
// arguments that stand before the keys.
func (a *app) changing(verb, use, short, long string, before int) *cobra.Command {
	c, q := a.withQuery(&cobra.Command{Use: use, Short: short, Long: long}, "")
	dry := c.Flags().BoolP("dry-run", "n", false, "only tell how many messages it would be")
	var create *bool
	if verb == toolmsg.Copy || verb == toolmsg.Move {
		create = c.Flags().Bool("create", false, "make the mailbox if it is not there")
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) <= before {
			return control.Errorf(control.ExitUsage, "write: rookeryctl %s; all is a key", use)
		}
		return a.runMail(q.mailFlags, request(verb, args, q.options(on("dry-run", *dry), on("create", create != nil && *create))...))
	}
	return c
}

// messageCommands are about messages.
func (a *app) messageCommands() []*cobra.Command {
	flags := a.changing(toolmsg.Flags, `flags -u USER -m MAILBOX add|remove|set 'FLAGS' KEY…`, "Change flags and keywords",
		`Change flags (\Seen, \Answered, \Flagged, \Deleted, \Draft) and keywords. FLAGS is one argument, such as '\Seen $Junk'; it may be empty for set.`, 2)
	words := flags.ValidArgsFunction
	flags.ValidArgsFunction = func(c *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return []string{"add", "remove", "set"}, cobra.ShellCompDirectiveNoFileComp
		case 1:
			return []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}, cobra.ShellCompDirectiveNoFileComp
		}
		return words(c, args, part)
	}
	return []*cobra.Command{a.fetchCommand(), a.searchCommand(), flags,
		a.changing(toolmsg.Expunge, "expunge -u USER -m MAILBOX KEY…", "Remove messages",
			"Remove messages, whatever their flags. Within mail_undelete_hold they can be had back with rookeryctl undelete.", 0),
		a.changing(toolmsg.Copy, "copy -u USER -m MAILBOX TO KEY…", "Copy messages to another mailbox of the user", "Copy messages to the mailbox TO, with flags, keywords and dates.", 1),
		a.changing(toolmsg.Move, "move -u USER -m MAILBOX TO KEY…", "Move messages to another mailbox of the user", "Move messages to the mailbox TO, with flags, keywords and dates.", 1)}
}

package rookeryctl

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/tool"
)

// mailboxNames asks for the names of all mailboxes, for completion.
func (a *app) mailboxNames(f *mailFlags) ([]string, error) {
	t, err := a.openTool(f)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	ctx, stop := interruptible()
	defer stop()
	var names []string
	err = t.Do(ctx, request(toolmsg.List, nil), tool.Sink{Line: func(body []byte) error {
		var l struct{ Mailbox string }
		if err := json.Unmarshal(body, &l); err != nil {
			return err
		}
		names = append(names, l.Mailbox)
		return nil
	}})
	return names, err
}

// mailboxCommand is about mailboxes as a whole.
func (a *app) mailboxCommand() *cobra.Command {
	c := &cobra.Command{Use: "mailbox", Short: "List, make, remove, rename a user's mailboxes"}
	c.AddCommand(a.mailboxList(), a.mailboxCreate(), a.mailboxDelete(),
		a.mailboxPlain(toolmsg.Status, "status -u USER [MAILBOX|PATTERN…]", "Show messages, unseen, size, UIDs of mailboxes",
			`Show how many messages a mailbox has, their size, UIDNEXT, UIDVALIDITY, HIGHESTMODSEQ and GUID. A pattern may have "*" (anything) and "%" (one level).`, cobra.ArbitraryArgs),
		a.mailboxPlain(toolmsg.Rename, "rename -u USER FROM TO", "Rename a mailbox and those below it",
			"Rename a mailbox and those below it; UIDs and UIDVALIDITY stay. INBOX gives its messages to the new mailbox and stays itself.", cobra.ExactArgs(2)),
		a.mailboxPlain(toolmsg.Subscribe, "subscribe -u USER MAILBOX…", "Subscribe to mailboxes", "", cobra.MinimumNArgs(1)),
		a.mailboxPlain(toolmsg.Unsubscribe, "unsubscribe -u USER MAILBOX…", "Unsubscribe from mailboxes", "", cobra.MinimumNArgs(1)),
		a.mailboxPlain(toolmsg.Restored, "restored -u USER [MAILBOX|PATTERN…]", "Say that mailboxes came out of a backup: they get a new UIDVALIDITY",
			"Give mailboxes a higher UIDVALIDITY, so that clients forget what they hold of them. Do so after mail was put back from a backup: a UID that was given after the backup could otherwise name another message. Without names: all mailboxes.", cobra.ArbitraryArgs))
	return c
}

// mailboxPlain is a command that has arguments alone.
func (a *app) mailboxPlain(verb, use, short, long string, check cobra.PositionalArgs) *cobra.Command {
	c, f := a.mail(&cobra.Command{Use: use, Short: short, Long: long, Args: usage(check, "rookeryctl mailbox "+use)})
	c.RunE = func(_ *cobra.Command, args []string) error { return a.runMail(f, request(verb, args)) }
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) mailboxList() *cobra.Command {
	const use = "list -u USER [MAILBOX|PATTERN…]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "List mailboxes",
		Long: `List mailboxes with their attributes. A pattern may have "*" (anything) and "%" (one level).`})
	subscribed := c.Flags().Bool("subscribed", false, "only what is subscribed")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(f, request(toolmsg.List, args, on("subscribed", *subscribed)))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) mailboxCreate() *cobra.Command {
	const use = "create -u USER MAILBOX…"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Make mailboxes", Args: usage(cobra.MinimumNArgs(1), "rookeryctl mailbox "+use)})
	subscribe := c.Flags().BoolP("subscribe", "s", false, "subscribe to them too")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(f, request(toolmsg.Create, args, on("subscribe", *subscribe)))
	}
	return c
}

func (a *app) mailboxDelete() *cobra.Command {
	const use = "delete -u USER MAILBOX…"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Remove mailboxes with their messages", Args: usage(cobra.MinimumNArgs(1), "rookeryctl mailbox "+use),
		Long: "Remove mailboxes with their messages. Those below a mailbox stay, but with --recursive. Within mail_undelete_hold the messages can be had back with rookeryctl undelete."})
	recursive := c.Flags().BoolP("recursive", "r", false, "those below too")
	unsubscribe := c.Flags().BoolP("unsubscribe", "s", false, "unsubscribe from them too")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(f, request(toolmsg.Delete, args, on("recursive", *recursive), on("unsubscribe", *unsubscribe)))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

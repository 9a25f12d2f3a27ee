package rookeryctl

import (
	"github.com/spf13/cobra"

	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/control"
)

// shareCommands change and show who else may use a user's mailboxes.
func (a *app) shareCommands() []*cobra.Command {
	return []*cobra.Command{a.shareCommand(), a.unshareCommand(), a.sharesCommand()}
}

// whoText says how identifiers are written.
const whoText = `WHO is a user's name, "$" and a group's name, "authenticated" or "anyone"; "owner" is the user himself. "-" before it takes rights away from whoever it fits, whatever else gives them.`

func (a *app) shareCommand() *cobra.Command {
	const use = "share -u USER MAILBOX[/*]… --with WHO --rights RIGHTS"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Let others use a user's mailboxes", Args: usage(cobra.MinimumNArgs(1), "rookeryctl "+use),
		Long: `Let others use a user's mailboxes. MAILBOX/* is the mailbox and all below it, one by one; mailboxes that are made below later inherit.

RIGHTS are the letters of RFC 4314: l (see it), r (read), s (mark as seen), w (other flags), i (put messages into it), p (post), k (make mailboxes below), x (delete it), t (mark as deleted), e (expunge), a (see and change these rights). "+" or "-" before them adds to, or takes from, what WHO has.

` + whoText})
	with := c.Flags().StringArray("with", nil, "`WHO` gets the rights (several times)")
	rights := c.Flags().String("rights", "", "`RIGHTS`, such as lrs")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(*with) == 0 || !c.Flags().Changed("rights") {
			return control.Errorf(control.ExitUsage, "with whom, and with which rights? write --with WHO --rights RIGHTS")
		}
		return a.runMail(f, request(toolmsg.Share, args, append(each("with", *with), "rights="+*rights)...))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) unshareCommand() *cobra.Command {
	const use = "unshare -u USER MAILBOX[/*]… [--with WHO]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Take back what others may do with a user's mailboxes", Args: usage(cobra.MinimumNArgs(1), "rookeryctl "+use),
		Long: "Take WHO out of the access control lists of mailboxes; without --with everybody but the owner. MAILBOX/* is the mailbox and all below it.\n\n" + whoText})
	with := c.Flags().StringArray("with", nil, "only `WHO` (several times)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(f, request(toolmsg.Unshare, args, each("with", *with)...))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) sharesCommand() *cobra.Command {
	const use = "shares -u USER [MAILBOX|PATTERN…]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Show who else may use a user's mailboxes",
		Long: "Show who else may use a user's mailboxes, and with which rights; the owner only where he lacks some."})
	c.RunE = func(_ *cobra.Command, args []string) error { return a.runMail(f, request(toolmsg.Shares, args)) }
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

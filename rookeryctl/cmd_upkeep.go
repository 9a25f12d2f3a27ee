package rookeryctl

import (
	"github.com/spf13/cobra"

	"rookery/internal/ipc/toolmsg"
)

// upkeepCommands look after a user's store as a whole.
func (a *app) upkeepCommands() []*cobra.Command {
	return []*cobra.Command{a.indexCommand(), a.verifyCommand(), a.purgeCommand(), a.quotaCommand(), a.undeleteCommand()}
}

func (a *app) indexCommand() *cobra.Command {
	const use = "index -u USER [MAILBOX|PATTERN…]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Bring the index of mailboxes up to date, before somebody waits for it",
		Long: "Bring the index of mailboxes up to date, with the facts that clients ask for. It is never needed: what is missing is made when it is asked for. After an import it saves the first client's time."})
	c.RunE = func(_ *cobra.Command, args []string) error { return a.runMail(f, request(toolmsg.Index, args)) }
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) verifyCommand() *cobra.Command {
	const use = "verify -u USER [--repair] [--dry-run] [MAILBOX|PATTERN…]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Compare mail, control files and index with each other, and mend them",
		Long: "Compare mail, control files and index with each other; say in words what is wrong and what a repair does. Without --repair, or with --dry-run, nothing is touched. The exit code is 65 while something is wrong."})
	repair := c.Flags().Bool("repair", false, "mend what can be mended")
	dry := c.Flags().BoolP("dry-run", "n", false, "touch nothing, only tell what --repair would do")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.runMail(f, request(toolmsg.Verify, args, on("repair", *repair), on("dry-run", *dry)))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

func (a *app) purgeCommand() *cobra.Command {
	const use = "purge -u USER"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Give back the disk space of expunged messages now", Args: usage(cobra.NoArgs, "rookeryctl "+use),
		Long: "Give back the disk space of expunged messages now. The server does so by itself, little by little."})
	c.RunE = func(*cobra.Command, []string) error { return a.runMail(f, request(toolmsg.Purge, nil)) }
	return c
}

func (a *app) quotaCommand() *cobra.Command {
	c := &cobra.Command{Use: "quota", Short: "Show or count a user's use of his quota"}
	for _, one := range []struct{ use, short, option string }{
		{"get -u USER", "Show use and limits", ""},
		{"recalc -u USER", "Count the use anew, and show it", "recalc"},
	} {
		sub, f := a.mail(&cobra.Command{Use: one.use, Short: one.short, Args: usage(cobra.NoArgs, "rookeryctl quota "+one.use)})
		sub.RunE = func(*cobra.Command, []string) error { return a.runMail(f, request(toolmsg.Quota, nil, one.option)) }
		c.AddCommand(sub)
	}
	return c
}

func (a *app) undeleteCommand() *cobra.Command {
	const use = "undelete -u USER [--since 3d] [--mailbox MAILBOX] [--dry-run]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Put expunged messages back", Args: usage(cobra.NoArgs, "rookeryctl "+use),
		Long: "Put messages back that were expunged within mail_undelete_hold, with the flags and dates that they had. They get new UIDs. A mailbox that was deleted is made again."})
	since := c.Flags().String("since", "", "only what was expunged within this `TIME`: 3d, 12h (default: all that is held)")
	boxes := c.Flags().StringArrayP("mailbox", "m", nil, "only of this `MAILBOX`; may be given several times")
	dry := c.Flags().BoolP("dry-run", "n", false, "only tell what would be put back")
	_ = c.RegisterFlagCompletionFunc("mailbox", a.completeMailboxes(f)) // the flag is there
	c.RunE = func(*cobra.Command, []string) error {
		return a.runMail(f, request(toolmsg.Undelete, nil, append(each("mailbox", *boxes), opt("since", *since), on("dry-run", *dry))...))
	}
	return c
}

package rookeryctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rookery/internal/acl"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/secret"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
	"rookery/rookeryctl/internal/tool"
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
		return a.runMail(f, request(toolmsg.Share, args, append(each("with", a.knownUsers(*with)), "rights="+*rights)...))
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

// knownUsers gives identifiers with users' names as their logins have them
// (auth_username_format, auth_default_domain): an entry for a name that is written in another way would fit
// nobody. Of a name that no userdb knows it warns; the entry may be for a user to come.
func (a *app) knownUsers(with []string) []string {
	out := slices.Clone(with)
	for i, text := range with {
		id, err := acl.ParseID(text)
		if err != nil || id.Kind != acl.User {
			continue // what is wrong with it is told by whoever writes the list
		}
		body, err := a.fetch(askTimeout, ctlmsg.Lookup, secret.Bytes{}, id.Name, "imap")
		var failed *control.Error
		if errors.As(err, &failed) && failed.Exit == control.ExitNoUser {
			fmt.Fprintf(a.errOut, "no userdb knows %s: the entry fits whoever logs in by exactly this name (names are as rookeryctl who shows them)\n", show.Clean(id.Name))
		}
		var record struct{ User string }
		if err != nil || json.Unmarshal(body, &record) != nil || record.User == "" {
			continue
		}
		id.Name = record.User
		out[i] = id.Wire()
	}
	return out
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
	const use = "shares -u USER [MAILBOX|PATTERN…] | shares --rebuild [-u USER]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Show who else may use a user's mailboxes",
		Long: `Show who else may use a user's mailboxes, and with which rights; the owner only where he lacks some.

With --rebuild, make the list of shares anew, by which the server knows whose mailboxes to show to whom: of one user, or of all whom the userdbs can name, one after the other, from the access control lists of their mailboxes. It may run while users work. Each user's own is also told whenever he logs in.`})
	rebuild := c.Flags().Bool("rebuild", false, "make the list of shares anew")
	c.RunE = func(_ *cobra.Command, args []string) error {
		switch {
		case !*rebuild:
			return a.runMail(f, request(toolmsg.Shares, args))
		case len(args) > 0:
			return control.Errorf(control.ExitUsage, "--rebuild takes all mailboxes of a user")
		case f.user != "":
			return a.runMail(f, request(toolmsg.Publish, nil))
		}
		return a.rebuildShares(f)
	}
	c.ValidArgsFunction = a.completeMailboxes(f)
	return c
}

// usersTimeout is how long authd may take to go through the userdbs.
const usersTimeout = 90 * time.Second

// rebuildShares has a process for each user tell what he shares. A user for whom
// that fails is shown with the reason, and does not stop the others.
func (a *app) rebuildShares(f *mailFlags) error {
	body, err := a.fetch(usersTimeout, ctlmsg.Users, secret.Bytes{})
	if err != nil {
		return err
	}
	var all struct{ Users, Unlisted []string }
	if err := json.Unmarshal(body, &all); err != nil {
		return control.Errorf(control.ExitSoftware, "the list of users: %v", err)
	}
	ctx, stop := interruptible()
	defer stop()
	out, meter := show.NewStream(a.out, a.json), a.meter(f)
	failures := 0
	for i, user := range all.Users {
		meter.show(&toolmsg.Progress{Text: "telling what users share", Count: uint64(i), Total: uint64(len(all.Users))})
		if err = a.rebuildOne(ctx, user, out); err == nil {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		failures++
		row, jerr := json.Marshal(map[string]string{"user": user, "problem": clean(err).Error()})
		if jerr == nil {
			jerr = out.Row(row)
		}
		if jerr != nil {
			return control.Errorf(control.ExitSoftware, "%v", jerr)
		}
	}
	meter.clear()
	if err := out.Close(); err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	if len(all.Unlisted) > 0 {
		fmt.Fprintf(a.errOut, "userdb %s cannot say whom it knows: for users who are only there run rookeryctl shares --rebuild -u USER, or let them log in\n", show.Clean(strings.Join(all.Unlisted, ", ")))
	}
	switch {
	case ctx.Err() != nil:
		return control.Errorf(control.ExitTemp, "interrupted; what was told so far holds")
	case failures > 0:
		return control.Errorf(control.ExitTemp, "of %d users %d could not be asked; what they shared before still holds", len(all.Users), failures)
	}
	return nil
}

// rebuildOne is for one user.
func (a *app) rebuildOne(ctx context.Context, user string, out *show.Stream) error {
	t, err := a.openTool(&mailFlags{user: user})
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Do(ctx, request(toolmsg.Publish, nil), tool.Sink{Line: out.Row, Progress: func(*toolmsg.Progress) {}})
}

package rookeryctl

import (
	"context"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/toolmsg"
	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/tool"
)

func (a *app) convertCommand() *cobra.Command {
	const use = "convert -u USER --to DRIVER"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Keep a user's mail in another format, UIDs and all", Args: usage(cobra.NoArgs, "rookeryctl "+use),
		Long: `Copy a user's mail into another format, with UIDs, UIDVALIDITY, flags, keywords,
dates, GUIDs and UIDLs, so that clients notice nothing. The copy is made while he
works; then his sessions end, what changed is copied, everything is compared, and
the new mail takes the place of the old. Where anything differs, nothing changes.

When it is cut short, give the same command again: it goes on where it was. The
old mail stays until --discard-old.`})
	to := c.Flags().String("to", "", "the format: maildir, mbox or pack (`DRIVER`)")
	discard := c.Flags().Bool("discard-old", false, "take the old mail away after a conversion")
	abandon := c.Flags().Bool("abandon", false, "take the copy of an unfinished conversion away")
	dry := c.Flags().BoolP("dry-run", "n", false, "only tell how much mail there is, and whether a conversion is under way")
	_ = c.RegisterFlagCompletionFunc("to", cobra.FixedCompletions(settings.MailDriver.Decl().Words, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	c.RunE = func(*cobra.Command, []string) error {
		chosen := 0
		for _, b := range []bool{*to != "" && !*dry, *discard, *abandon, *dry} {
			if b {
				chosen++
			}
		}
		if chosen != 1 {
			return control.Errorf(control.ExitUsage, "write one of --to DRIVER, --discard-old, --abandon, --dry-run")
		}
		phases := []string{"copy", "copy", "finish"} // the second pass finds little, so that the user is kept out for moments only
		switch {
		case *dry:
			phases = []string{"plan"}
		case *discard:
			phases = []string{"discard"}
		case *abandon:
			phases = []string{"abandon"}
		}
		return a.runConvert(f, *to, phases)
	}
	return c
}

func (a *app) runConvert(f *mailFlags, to string, phases []string) error {
	return a.withTool(f, func(ctx context.Context, t *tool.Client, sink tool.Sink, m *meter) error {
		for _, phase := range phases {
			if phase == "finish" {
				m.clear()
				if err := t.Hold(); err != nil {
					return err
				}
			}
			var args []string
			if to != "" {
				args = []string{to}
			}
			if err := t.Do(ctx, request(toolmsg.Convert, args, opt("phase", phase)), sink); err != nil {
				return err
			}
		}
		return nil
	})
}

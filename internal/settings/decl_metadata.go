package settings

import (
	"errors"
	"strings"
)

// The settings of annotations (RFC 5464).
var (
	IMAPMetadataMaxEntries = integer("imap_metadata_max_entries", 1000, RoleWorkers, fileIMAP,
		`How many annotations (SETMETADATA) one mailbox may have, and the user beside them.`, limits(10, 10_000), unit("entries"))

	IMAPMetadataMaxSize = size("imap_metadata_max_size", 64<<10, RoleWorkers, fileIMAP,
		`The largest value of an annotation. All annotations of a user together may take 4 MiB.`, limits(1<<10, 64<<10))

	IMAPMetadataAdmin = str("imap_metadata_admin", "", RoleWorkers, fileIMAP,
		`A URI by which users reach the administrator, such as "mailto:postmaster@example.org": clients read it as the server's annotation /shared/admin. Empty: there is none.`,
		checked(func(v any) error {
			if uri := v.(string); uri != "" && !plainURI(uri) {
				return errors.New("is no URI: it begins with a scheme such as mailto: or tel:, and has no spaces")
			}
			return nil
		}), perUser())

	IMAPMetadataComment = str("imap_metadata_comment", "", RoleWorkers, fileIMAP,
		`A note about the server for its users: clients read it as the server's annotation /shared/comment. Empty: there is none.`, perUser())

	IMAPFilters = declare(KindFields, "imap_filters", Fields{}, RoleWorkers, fileIMAP,
		`Searches that all users can name in SEARCH (RFC 5466), such as { big = "LARGER 1000000 UNSEEN" } for SEARCH FILTER big: the server's annotations /shared/filters/values/NAME. A user's own filter of the same name goes before.`,
		checked(func(v any) error {
			for _, f := range v.(Fields) {
				if !filterName(f.Name) {
					return errors.New("a filter's name has letters, digits, \"-\", \"_\" and \".\" alone: " + f.Name)
				}
			}
			return nil
		}))
)

// filterName reports whether a name can be a filter's: less than filter-name of
// RFC 5466 §4, without what needs quotes somewhere.
func filterName(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && !strings.ContainsRune("0123456789-_.", rune(name[i])) {
			return false
		}
	}
	return name != ""
}

// plainURI reports whether text has the form of a URI: scheme ":" and printable
// US-ASCII (RFC 3986 §3).
func plainURI(text string) bool {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || scheme == "" || rest == "" {
		return false
	}
	for i := range len(scheme) {
		c := scheme[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(scheme[i]))) {
			return false
		}
	}
	return !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r > '~' })
}

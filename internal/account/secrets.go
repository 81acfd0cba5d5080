package account

import "strings"

// secrets are what no status and no log may show, a longer one before one that it
// contains.
type secrets []string

func (o *RedisOptions) secrets() secrets {
	var s secrets
	for _, password := range []string{o.Password, o.SentinelPassword} {
		switch {
		case password == "":
		case len(s) > 0 && len(password) > len(s[0]):
			s = secrets{password, s[0]}
		default:
			s = append(s, password)
		}
	}
	return s
}

// hide makes a text of the server, or of the client library, fit to be shown. A server
// that does not have a command quotes what came with it, which for AUTH and HELLO is
// the password, or the first 128 bytes of it:
//
//	ERR unknown command 'AUTH', with args beginning with: 'user' 'password'
func (s secrets) hide(text string) string {
	text, _, _ = strings.Cut(text, ", with args beginning with:")
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// webmail.go: where people of well-known providers read their mail.

package hostname

import "strings"

// Webmail is the name and the page of the provider of an address, where people read their
// mail in a browser; "" where that is not known. It looks at the domain alone, and at no
// network.
func Webmail(address string) (name, page string) {
	_, domain, _ := strings.Cut(address, "@")
	p := webmails[strings.ToLower(domain)]
	return p[0], p[1]
}

var webmails = func() map[string][2]string {
	out := map[string][2]string{}
	for _, p := range [][3]string{
		{"Gmail", "https://mail.google.com/", "gmail.com googlemail.com"},
		{"Outlook", "https://outlook.live.com/mail/", "outlook.com outlook.de outlook.fr outlook.es outlook.com.br hotmail.com hotmail.de hotmail.fr hotmail.es hotmail.co.uk live.com live.de live.fr msn.com"},
		{"Yahoo", "https://mail.yahoo.com/", "yahoo.com yahoo.de yahoo.fr yahoo.es yahoo.co.uk yahoo.com.br yahoo.co.id ymail.com rocketmail.com"},
		{"iCloud", "https://www.icloud.com/mail", "icloud.com me.com mac.com"},
		{"Proton", "https://mail.proton.me/", "proton.me protonmail.com protonmail.ch pm.me"},
		{"GMX", "https://www.gmx.net/", "gmx.net gmx.de gmx.at gmx.ch"},
		{"GMX", "https://www.gmx.com/", "gmx.com"},
		{"WEB.DE", "https://web.de/", "web.de"},
		{"T-Online", "https://email.t-online.de/", "t-online.de magenta.de"},
		{"freenet", "https://webmail.freenet.de/", "freenet.de"},
		{"mailbox.org", "https://login.mailbox.org/", "mailbox.org"},
		{"Posteo", "https://posteo.de/", "posteo.de posteo.net"},
		{"Tuta", "https://app.tuta.com/", "tuta.com tuta.io tutanota.com tutanota.de"},
		{"Fastmail", "https://app.fastmail.com/", "fastmail.com fastmail.fm"},
		{"Zoho", "https://mail.zoho.com/", "zoho.com"},
		{"Orange", "https://messagerie.orange.fr/", "orange.fr wanadoo.fr"},
		{"Free", "https://webmail.free.fr/", "free.fr"},
		{"La Poste", "https://www.laposte.net/accueil", "laposte.net"},
		{"SFR", "https://webmail.sfr.fr/", "sfr.fr neuf.fr"},
		{"UOL", "https://email.uol.com.br/", "uol.com.br bol.com.br"},
		{"Onet", "https://poczta.onet.pl/", "onet.pl onet.eu op.pl poczta.onet.pl"},
		{"WP", "https://poczta.wp.pl/", "wp.pl"},
		{"o2", "https://poczta.o2.pl/", "o2.pl tlen.pl"},
		{"Interia", "https://poczta.interia.pl/", "interia.pl interia.eu"},
	} {
		for domain := range strings.FieldsSeq(p[2]) {
			out[domain] = [2]string{p[0], p[1]}
		}
	}
	return out
}()

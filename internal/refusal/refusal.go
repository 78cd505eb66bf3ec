// refusal.go: the errors that people see: a stable code, the field it is about,
// and what the message mentions. respond.go turns them into bytes.

package refusal

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// Code is a stable, documented name of one refusal, the same in answers and
// logs. Its message may change or be translated; the code does not.
type Code string

// The codes. The message of each is error.<code> in templates/locales, its
// status stands in respond.go.
const (
	CodeRequired               Code = "required"
	CodeBlank                  Code = "blank"
	CodeNull                   Code = "null"
	CodeInvalid                Code = "invalid"
	CodeMaxLength              Code = "max_length"
	CodeMinLength              Code = "min_length"
	CodeMinValue               Code = "min_value"
	CodeMaxValue               Code = "max_value"
	CodeInvalidChoice          Code = "invalid_choice"
	CodeUnique                 Code = "unique"
	CodeNotAnObject            Code = "not_an_object"
	CodePasswordTooShort       Code = "password_too_short"
	CodePasswordTooCommon      Code = "password_too_common"
	CodePasswordNumeric        Code = "password_entirely_numeric"
	CodePasswordTooSimilar     Code = "password_too_similar"
	CodePasswordBreached       Code = "password_breached"
	CodePasswordRefused        Code = "password_refused"
	CodePasswordsDoNotMatch    Code = "passwords_do_not_match"
	CodePasswordIncorrect      Code = "password_incorrect"
	CodeReauthenticate         Code = "reauthentication_required"
	CodeLoginInvalid           Code = "login_invalid"
	CodeNotVerified            Code = "not_verified"
	CodeApprovalPending        Code = "approval_pending"
	CodeDisabled               Code = "disabled"
	CodeAccountClosing         Code = "account_closing"
	CodeNotWaiting             Code = "not_waiting"
	CodeLastAdmin              Code = "last_admin"
	CodeNoLink                 Code = "no_link"
	CodeInvitationRequired     Code = "invitation_required"
	CodeInvitationInvalid      Code = "invitation_invalid"
	CodeSignUpCodeInvalid      Code = "signup_code_invalid"
	CodeSignUpRefused          Code = "sign_up_refused"
	CodeDomainNotAllowed       Code = "domain_not_allowed"
	CodeLoginCodeInvalid       Code = "login_code_invalid"
	CodeLoginCodeExpired       Code = "login_code_expired"
	CodeChallengeExpired       Code = "challenge_expired"
	CodeTermsRequired          Code = "terms_required"
	CodeFactorInvalid          Code = "factor_invalid"
	CodeFactorRequired         Code = "factor_required"
	CodeFactorNotFound         Code = "factor_not_found"
	CodeFactorLimit            Code = "factor_limit"
	CodeDeviceNotFound         Code = "device_not_found"
	CodeTokenNotFound          Code = "token_not_found"
	CodeTokenLimit             Code = "token_limit"
	CodeOIDCExpired            Code = "oidc_expired"
	CodeOIDCDenied             Code = "oidc_denied"
	CodeOIDCFailed             Code = "oidc_failed"
	CodeOIDCNotAnew            Code = "oidc_not_anew"
	CodeOIDCUnavailable        Code = "oidc_unavailable"
	CodeOIDCAnother            Code = "oidc_another"
	CodeLinkedKnown            Code = "linked_known"
	CodeLinkedTaken            Code = "linked_taken"
	CodeLinkedLimit            Code = "linked_limit"
	CodeLinkedNotFound         Code = "linked_not_found"
	CodeEnrolmentExpired       Code = "enrolment_expired"
	CodePasskeyUnknown         Code = "passkey_unknown"
	CodeLastWayIn              Code = "last_way_in"
	CodeSignatureInvalid       Code = "signature_invalid"
	CodeSignatureExpired       Code = "signature_expired"
	CodeUserNotFound           Code = "user_not_found"
	CodeEmailRequired          Code = "email_required"
	CodeEmailAlreadyRegistered Code = "email_already_registered"
	CodeEmailNotFound          Code = "email_not_found"
	CodeEmailUnconfirmed       Code = "email_unconfirmed"
	CodeEmailPrimary           Code = "email_primary"
	CodeEmailLimit             Code = "email_limit"
	CodeNoToken                Code = "no_token"
	CodeNotAuthenticated       Code = "not_authenticated"
	CodeInsufficient           Code = "insufficient_user_authentication"
	CodeTokenInvalid           Code = "token_invalid"
	CodeTokenReused            Code = "token_reused"
	CodeRefreshConflict        Code = "refresh_conflict"
	CodeSessionNotFound        Code = "session_not_found"
	CodePermissionDenied       Code = "permission_denied"
	CodeCrossOrigin            Code = "cross_origin"
	CodeNotFound               Code = "not_found"
	CodeMethodNotAllowed       Code = "method_not_allowed"
	CodeUnsupportedMediaType   Code = "unsupported_media_type"
	CodeMalformed              Code = "malformed"
	CodeTooLarge               Code = "too_large"
	CodeThrottled              Code = "throttled"
	CodeUnavailable            Code = "unavailable"
	CodeInternal               Code = "internal"
)

// NonField is the key for errors that belong to no one field.
const NonField = "non_field_errors"

// A FieldError is one refusal of one input field.
type FieldError struct {
	Field  string
	Code   Code
	Params text.Params
	// Message is the id of a text that says more than the code's own, such as
	// what the field takes; "": the code's.
	Message string
}

// Phrase is what the refusal says.
func (e FieldError) Phrase() text.Phrase {
	if e.Message != "" {
		return text.Phrase{Id: e.Message, Params: e.Params}
	}
	return phrase(e.Code, e.Params)
}

// inUnit tells a wait of at least two minutes in a unit that people count in,
// rounded up: nobody counts 3,600 seconds.
func inUnit(seconds int64) text.Phrase {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch {
	case seconds > 2*day:
		return text.Say("throttled.days", text.Params{"days": (seconds + day - 1) / day})
	case seconds > 2*hour:
		return text.Say("throttled.hours", text.Params{"hours": (seconds + hour - 1) / hour})
	}
	return text.Say("throttled.minutes", text.Params{"minutes": (seconds + minute - 1) / minute})
}

// Text is what a code says in a language.
func Text(l *text.Locale, code Code, params text.Params) string { return l.Text(phrase(code, params)) }

func phrase(code Code, params text.Params) text.Phrase {
	if wait, _ := params["seconds"].(int64); code == CodeThrottled && wait >= 120 {
		return inUnit(wait)
	}
	if params["crowd"] != nil && code == CodeUnavailable {
		return text.Say("throttled.busy", params)
	}
	if words, _ := params["message"].(string); words != "" && (code == CodeSignUpRefused || code == CodePasswordRefused) {
		return text.Phrase{Words: words}
	}
	if code == CodeEmailAlreadyRegistered {
		switch {
		case params["until"] != nil:
			return text.Say(EmailKept, params)
		case params["own"] != nil:
			return text.Say(emailOwn)
		}
	}
	if params[ParamQuery] != nil && code == CodeMalformed {
		return text.Say("invalid.query", params)
	}
	return text.Phrase{Id: "error." + string(code), Params: params}
}

// ParamQuery has what is wrong with the query of an address, where that is what is malformed.
const ParamQuery = "query"

// EmailKept is what an owner is told of an address that nobody has: it is kept for who
// left it (name) until then (until). Who signs up never learns it.
const EmailKept = "error.email_kept"

// emailOwn is what somebody is told of an address that is his own already.
const emailOwn = "invalid.email_own"

// Error is a refused or failed act: either a single Code, or the errors of the
// input's fields, all together.
type Error struct {
	Code   Code
	Params text.Params
	// Fields is not empty where the input was refused by field.
	Fields []FieldError
	// RetryAfter is when it may work again; zero: unsaid.
	RetryAfter time.Duration
	// Challenge are parameters of the WWW-Authenticate of a 401; "": the usual ones.
	Challenge string
	// Counted: the metric of throttles has it, and the log its first.
	Counted bool
	// Cause is for the operator's log and never sent.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case len(e.Fields) > 0:
		parts := make([]string, len(e.Fields))
		for i, f := range e.Fields {
			parts[i] = f.Field + " " + string(f.Code)
		}
		return "invalid input: " + strings.Join(parts, ", ")
	case e.Cause != nil:
		return string(e.Code) + ": " + e.Cause.Error()
	}
	return string(e.Code)
}

// Phrase is what a refusal says, of one by fields the first of them.
func (e *Error) Phrase() text.Phrase {
	if len(e.Fields) > 0 {
		return e.Fields[0].Phrase()
	}
	return phrase(e.Code, e.Params)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New is a refusal that is about no field.
func New(code Code) *Error { return &Error{Code: code} }

// Unavailable is a failure that is not the client's and may pass.
func Unavailable(cause error) *Error {
	return &Error{Code: CodeUnavailable, RetryAfter: 5 * time.Second, Cause: cause}
}

// Busy refuses what more people ask for at once than can be done. It may work again after wait.
func Busy(cause error, wait time.Duration) *Error {
	return &Error{Code: CodeUnavailable, RetryAfter: wait, Params: text.Params{"seconds": Seconds(wait), "crowd": true}, Counted: true, Cause: cause}
}

// FieldErrors collects the refusals of an input.
type FieldErrors []FieldError

// Has reports whether a field has been refused.
func (fe FieldErrors) Has(name string) bool {
	return slices.ContainsFunc(fe, func(e FieldError) bool { return e.Field == name })
}

// Add refuses a field. Of params, which the message needs, at most one is taken.
func (fe *FieldErrors) Add(field string, code Code, params ...text.Params) {
	e := FieldError{Field: field, Code: code}
	if len(params) > 0 {
		e.Params = params[0]
	}
	*fe = append(*fe, e)
}

// AddInvalid records a value that a field can't take, with the message that
// says what it does take.
func (fe *FieldErrors) AddInvalid(field, message string) {
	*fe = append(*fe, FieldError{Field: field, Code: CodeInvalid, Message: message})
}

// Err is nil while there is no refusal.
func (fe FieldErrors) Err() error {
	if len(fe) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Fields: fe}
}

// Together is what several checks of one input say: the refusals of all fields,
// or else the first error that is about no field.
func Together(errs ...error) error {
	var all FieldErrors
	for _, err := range errs {
		refusal := (*Error)(nil)
		switch {
		case err == nil:
		case !errors.As(err, &refusal) || len(refusal.Fields) == 0:
			return err
		default:
			all = append(all, refusal.Fields...)
		}
	}
	return all.Err()
}

// Seconds is a duration in whole seconds, rounded up, as in Retry-After.
func Seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

#!/usr/bin/env python3
"""Makes the mail of the spam example: who sent it, what it says, whether a person calls it spam. Standard library only.

A mail is drawn from its kind (spam or not), piece by piece, so that the odds of every piece are known and what anybody
could say of the mail at best is their product:

- the sender's domain, and a link to a bare address: nearly certain where they occur, which is why a rule can use them;
- sentences about something. In most mail the words give away what it is about; in *disguised* mail, spam or not, the
  words are everyday ones;
- one sentence about who does what to whom. "you will send the bank the code" and "the bank will send you the code" have
  the same words and are not the same: only their order tells.

People are wrong about a mail now and then (REPORT_ERROR), and pieces are now and then those of the other kind. So
nobody, however clever, is always right: `odds` is what one who knows this file would say.

Neither model sees any of this; they see mails.

    python3 generate.py --seed 1 --count 5
"""

import argparse
import math
import random

SPAM_SHARE = 0.42
DISGUISED = 0.30  # of either kind
OTHER_TOPIC = 0.05  # a sentence of a plain mail is about what the other kind writes about
OTHER_ORDER = 0.04  # who does what is as in the other kind
REPORT_ERROR = 0.015
OWN_DOMAIN = {False: 0.22, True: 0.001}  # mail from a colleague
BARE_LINK = {False: 0.0005, True: 0.10}

COLLEAGUES = ["ana", "bo", "chen", "dora", "emre", "femi", "greta", "hugo"]
STRANGERS = ["info", "service", "news", "office", "contact", "team", "hello", "noreply", "maria", "tom", "desk"]
DOMAINS = ["mail.example", "post.example", "inbox.example", "shopping.example", "city.example", "club.example"]

SLOTS = {
    "prize": "a prize|a phone|a voucher|a cruise|a bonus|a jackpot|a gift card|free tickets|a watch".split("|"),
    "pill": "pills|tablets|vitamins|a slimming cure|hair tonic|a miracle cream".split("|"),
    "gain": "double your income|get rich quickly|earn thousands weekly|clear your debt|multiply your savings".split("|"),
    "coin": "coins|tokens|shares|options|a secret fund|crypto".split("|"),
    "urge": "act now|limited offer|only today|last chance|order now|hurry|click below|offer expires tonight".split("|"),
    "task": "the report|the budget|the slides|the contract|the draft|the test results|the release notes".split("|"),
    "event": "the meeting|the review|the workshop|lunch|the standup|the interview|the training".split("|"),
    "place": "room two|the library|the canteen|the hall|the lab|building four|the garden".split("|"),
    "day": "monday|tuesday|wednesday|thursday|friday|next week|tomorrow".split("|"),
    "kin": "grandma|your sister|uncle jo|the kids|the neighbours|the class|the choir".split("|"),
    "thing": "the parcel|the bill|the bicycle|the weather|the garden|the train|the holiday|the heating|the map".split("|"),
    "party": "the bank|the shop|the landlord|the office|the agency|the school|the club|the carrier|the insurer|"
    "support|the hotel|the clinic".split("|"),
    "asset": "the code|the money|the card|the form|the key|the deposit|the number|the fee|the balance|the passport|"
    "the receipt|the password".split("|"),
    "when": "today|soon|this week|by friday|at once|before noon|as agreed|this month".split("|"),
    "give": "send|pay|transfer|mail|hand|forward".split("|"),
}

SPAM_TOPICS = [
    "you have won {prize}",
    "{urge} and {gain}",
    "buy cheap {pill} without prescription",
    "{pill} at half price, {urge}",
    "invest in {coin} and {gain}",
    "congratulations, {prize} is waiting",
    "our {coin} guarantee huge profit",
    "lucky winner, claim {prize}",
    "{urge}",
    "meet singles near you, {urge}",
    "lowest rates, no credit check",
    "risk free casino, {prize} for new players",
]
HAM_TOPICS = [
    "{event} moved to {place} on {day}",
    "please review {task} before {day}",
    "i attached {task}",
    "notes of {event} are in the wiki",
    "could you proofread {task}",
    "{event} is cancelled, sorry",
    "thanks for {task}, well done",
    "see you at {event} on {day}",
    "happy birthday from {kin}",
    "{kin} said hello, dinner on {day}",
    "the build is green again, {task} can ship",
    "agenda for {event}: {task}",
]
EVERYDAY_TOPICS = [
    "a word about {thing}",
    "this is about {thing} of {day}",
    "we spoke about {thing}",
    "good morning",
    "as for {thing}, it is nearly done",
    "dear customer",
    "kind regards from {party}",
    "{party} is open on {day}",
    "there is news about {thing}",
    "you asked about {thing}",
]
# (as legitimate mail says it, as fraud says it): the same words each time.
ORDERS = [
    ("{party} will {give} you {asset} {when}", "you will {give} {party} {asset} {when}"),
    ("do not {give} {asset}, just call {party}", "do not call {party}, just {give} {asset}"),
    ("you get {asset} before you {give} anything to {party}", "you {give} {asset} to {party} before you get anything"),
    ("{party} must {give} {asset} and you wait", "you must {give} {asset} and {party} wait"),
    ("never {give} {asset}, always ask {party}", "never ask {party}, always {give} {asset}"),
    ("{asset} is with {party}, not with you", "{asset} is with you, not with {party}"),
]


class Mailer:
    """Draws mails from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, options):
        return options[int(self.random.random() * len(options))]

    def fill(self, template, slots):
        """`slots` keeps what was drawn, so that both orders of a sentence are about the same."""
        while "{" in template:
            name = template[template.index("{") + 1 : template.index("}")]
            if name not in slots:
                slots[name] = self.pick(SLOTS[name])
            template = template.replace("{" + name + "}", slots[name], 1)
        return template

    def kind_of(self, spam, odds):
        """Draws something that is so with probability odds[spam]; and its share in the log odds of spam."""
        if self.chance(odds[spam]):
            return True, math.log(odds[True] / odds[False])
        return False, math.log((1 - odds[True]) / (1 - odds[False]))

    def mail(self):
        """(whether people call it spam, log odds of that for who knows everything here, sender, text)"""
        spam = self.chance(SPAM_SHARE)
        log_odds = math.log(SPAM_SHARE / (1 - SPAM_SHARE))
        own, share = self.kind_of(spam, OWN_DOMAIN)
        log_odds += share
        if own:
            sender = self.pick(COLLEAGUES) + "@northwind.example"
        else:
            sender = self.pick(STRANGERS) + "@" + self.pick(DOMAINS)
        sentences = []
        disguised = self.chance(DISGUISED)
        for _ in range(2 + int(self.random.random() * 3)):
            if disguised:
                topics = EVERYDAY_TOPICS
            else:
                spammy, share = self.kind_of(spam, {True: 1 - OTHER_TOPIC, False: OTHER_TOPIC})
                log_odds += share
                topics = SPAM_TOPICS if spammy else HAM_TOPICS
            sentences.append(self.fill(self.pick(topics), {}))
        fraud, share = self.kind_of(spam, {True: 1 - OTHER_ORDER, False: OTHER_ORDER})
        log_odds += share
        order = self.fill(self.pick(ORDERS)[1 if fraud else 0], {})
        sentences.insert(int(self.random.random() * (len(sentences) + 1)), order)
        linked, share = self.kind_of(spam, BARE_LINK)
        log_odds += share
        if linked:
            host = ".".join(str(1 + int(self.random.random() * 254)) for _ in range(4))
            sentences.append(f"see http://{host}/{self.pick(['login', 'offer', 'a', 'verify'])}")
        text = " ".join(self.write(sentence) for sentence in sentences)
        reported = spam != self.chance(REPORT_ERROR)
        return reported, log_odds, sender, text

    def write(self, sentence):
        """As people type, whatever they send."""
        if self.chance(0.08):
            sentence = sentence.upper()
        elif self.chance(0.8):
            sentence = sentence[0].upper() + sentence[1:]
        return sentence + self.pick([".", ".", ".", "!", " !", ""])


def mails(seed, count):
    mailer = Mailer(seed)
    return [mailer.mail() for _ in range(count)]


def main():
    parser = argparse.ArgumentParser(description="Prints mails, tab-separated: spam, log odds, sender, text.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    arguments = parser.parse_args()
    for spam, log_odds, sender, text in mails(arguments.seed, arguments.count):
        print(f"{int(spam)}\t{log_odds:.2f}\t{sender}\t{text}")


if __name__ == "__main__":
    main()

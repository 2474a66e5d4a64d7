"""Conversations of a support desk: orders, invoices, returns and accounts of a bicycle shop."""

from __future__ import annotations

import json
from random import Random

from .script import Exchange, Round, Talk, asking, failing, use, verdict

PRODUCTS = (
    "Trekker 28", "Trekker 29 XL", "City Loop", "Cargo Duo", "Kids Comet", "Rain cape", "Dynamo light",
    "Touring saddle", "Pannier 20 l", "E-motor battery", "Brake set “Silent”", "Café racer handlebar",
)  # fmt: skip
PEOPLE = (
    "Maya Okafor", "Jonas Müller", "Søren Lindqvist", "Chloé Bernard", "Łukasz Nowak", "Ana Sofía Reyes",
    "田中 美咲", "Zeynep Şahin", "Oleksandr Шевченко", "Priya Raman", "Tom Becker", "نور الهاشمي",
)  # fmt: skip
CARRIERS = ("DHL", "UPS", "GLS", "Hermes")
CITIES = ("Leipzig", "Göteborg", "Lyon", "Kraków", "Porto", "大阪", "İzmir", "Utrecht")


def _order(random: Random) -> str:
    return f"B-{random.randrange(10_000, 99_999)}"


def _found(random: Random, order: str, product: str, status: str) -> str:
    total = random.randrange(19, 2400) + random.choice((0.0, 0.5, 0.99))
    known = {"order": order, "customer": random.choice(PEOPLE), "items": [product], "status": status}
    return json.dumps({**known, "total": total, "currency": "EUR"}, ensure_ascii=False)


def shipping(random: Random) -> Talk:
    """Find a parcel that has not arrived."""
    order, product, city = _order(random), random.choice(PRODUCTS), random.choice(CITIES)
    carrier, days = random.choice(CARRIERS), random.randrange(1, 5)
    lookup = use("find_order", _found(random, order, product, "shipped"), order=order)
    track = random.choice(
        (
            use("track_parcel", f"{carrier}: in the hub of {city}, due in {days} days", carrier=carrier),
            failing("track_parcel", "TimeoutError", f"{carrier} did not answer in 10 s", carrier=carrier),
            use("track_parcel", f"{carrier}: out for delivery in {city}", carrier=carrier),
        )
    )
    first = random.choice(
        (
            f"Hi, where is my order {order}? It was due yesterday.",
            f"My {product} has not arrived. Order {order}.",
            f"order {order} still not here 😕 can you check pls",
        )
    )
    known = (
        f"I could not reach {carrier} just now. Your {product} left us two days ago; I have set a reminder."
        if track.failed
        else f"Your {product} is on its way: {track.result}. Sorry for the wait!"
    )
    talk = [
        Exchange(
            first,
            known,
            (
                Round("First the order, then the carrier.", (lookup,)),
                Round(f"It was shipped with {carrier}.", (track,)),
            ),
            thought=f"The customer wants to know about {order}.",
            feedback=verdict(random, 0.4 if track.failed else 0.9),
        )
    ]
    if random.random() < 0.4:
        note = use("change_delivery", "noted", order=order, wish="leave with the neighbour")
        noted = Round("A wish for the carrier.", (note,))
        talk.append(
            Exchange(
                "I am at work then. Can they leave it with my neighbour?",
                "Done, the driver will see it.",
                (noted,),
            )
        )
    return talk


def refund(random: Random) -> Talk:
    """Refund an order; refunds wait for a person's approval."""
    order, product = _order(random), random.choice(PRODUCTS)
    amount = random.randrange(15, 900)
    lookup = use("find_order", _found(random, order, product, "delivered"), order=order)
    policy = use(
        "search_policy", "Damaged on arrival: full refund within 30 days.", query="damaged on arrival"
    )
    pay = asking(
        random,
        "refund_payment",
        f"refunded {amount}.00 EUR",
        random.choice(
            ("Ask for a photo first", "Over my limit, goes to finance", "Already refunded in the shop")
        ),
        patient=True,
        order=order,
        amount=amount,
    )
    answer = {
        "granted": f"I have refunded {amount} €; it takes three to five days to reach your account.",
        "denied": f"I cannot refund this yet: {pay.reason}. I will come back to you today.",
    }.get(pay.decision, "")
    picture = f"a photo of a broken {product}" if random.random() < 0.6 else None
    talk = [
        Exchange(
            f"The {product} of order {order} came damaged. I want my {amount} € back."
            + (" See the photo." if picture else ""),
            "I am sorry to see that. May I refund it, or would you rather have a new one?",
            (Round("Look up the order and our policy at once.", (lookup, policy)),),
            image=picture,
        ),
        Exchange(
            random.choice(("Refund please.", "The money, please.", "Refund. It was a gift 🎁")),
            answer,
            (Round("Refunds need a colleague's approval.", (pay,)),),
            thought="The policy covers it.",
            feedback=verdict(random, 0.9 if pay.decision == "granted" else 0.2),
        ),
    ]
    if pay.decision == "granted" and random.random() < 0.5:
        talk.append(Exchange("Great, thanks!", "You are welcome. Ride safely! 🚲", feedback="positive"))
    return talk


def invoice(random: Random) -> Talk:
    """Send an invoice; the accounting system's tool sometimes fails."""
    order, product = _order(random), random.choice(PRODUCTS)
    month = random.choice(("August", "September", "October"))
    broken = random.random() < 0.3
    fetch = (
        failing("get_invoice", "PermissionError", "token expired for ledger-api", order=order)
        if broken
        else use("get_invoice", f"https://files.example.com/invoices/{order}.pdf", order=order)
    )
    rounds = [Round("The ledger has it.", (fetch,))]
    if broken:
        again = use("get_invoice", f"https://files.example.com/invoices/{order}.pdf", order=order)
        rounds.append(Round("The token had expired; try once more.", (again,)))
    vat = random.choice(("DE811234567", "FR40303265045", "NL004495445B01"))
    return [
        Exchange(
            f"I need the invoice of {month} for order {order} ({product}), with our VAT number {vat}.",
            f"Here it is: https://files.example.com/invoices/{order}.pdf",
            tuple(rounds),
            thought="VAT numbers go on a new invoice.",
            feedback=verdict(random),
        )
    ]


def account(random: Random) -> Talk:
    """Answer about logins and addresses: short, mostly without tools."""
    person, city = random.choice(PEOPLE), random.choice(CITIES)
    if random.random() < 0.5:
        save = use("core_memory_append", "None", label="human", content=f"{person} moved to {city}.")
        update = use("update_customer", "ok", name=person, city=city)
        return [
            Exchange(
                f"This is {person}. I have moved to {city}, please change my address.",
                f"Your new address in {city} is saved, {person.split()[0]}.",
                (Round("Save it, and remember it.", (update, save)),),
            )
        ]
    return [
        Exchange(
            "I cannot log in any more, it says “too many attempts”.",
            "Please wait ten minutes, then use “Forgot password”. Tell me if the mail does not come.",
            thought="No tool needed.",
        ),
        Exchange(
            "The mail does not come.", "I have sent it again, to the address that ends in “…@mail.example”."
        ),
    ]


def german(random: Random) -> Talk:
    """Cancel an order, in German."""
    order, product = _order(random), random.choice(PRODUCTS)
    lookup = use("find_order", _found(random, order, product, "in Bearbeitung"), order=order)
    cancel = asking(
        random, "cancel_order", "storniert", "Ware ist schon unterwegs", patient=True, order=order
    )
    answer = (
        "Die Bestellung ist storniert."
        if cancel.decision == "granted"
        else "Das Paket ist leider schon fort."
    )
    return [
        Exchange(
            f"Guten Tag, können Sie die Bestellung {order} ({product}) noch stornieren?",
            "Ja, sie ist noch in Bearbeitung. Soll ich stornieren?",
            (Round("Zuerst den Stand der Bestellung prüfen.", (lookup,)),),
        ),
        Exchange("Ja bitte, vielen Dank für die Mühe!", answer, (Round("Stornieren.", (cancel,)),)),
    ]


def japanese(random: Random) -> Talk:
    """Find a parcel that has not arrived, in Japanese."""
    order, product = _order(random), random.choice(PRODUCTS)
    lookup = use("find_order", _found(random, order, product, "発送済み"), order=order)
    return [
        Exchange(
            f"注文番号{order}の「{product}」はいつ届きますか？",  # noqa: RUF001
            f"「{product}」は発送済みで、{random.randrange(1, 4)}日以内にお届けします。",
            (Round("注文の状態を確認する。", (lookup,)),),
            thought="丁寧に答える。",
            feedback=verdict(random, 0.9),
        )
    ]


def spanish(random: Random) -> Talk:
    """Answer a question about stock, in Spanish."""
    product, city = random.choice(PRODUCTS), random.choice(CITIES)
    stock = use("check_stock", f"{random.randrange(0, 9)} en {city}", product=product, city=city)
    return [
        Exchange(
            f"¿Tienen «{product}» en la tienda de {city}? Quisiera probarlo mañana.",
            f"Según el almacén hay {stock.result}. ¿Se lo reservo?",
            (Round("Mirar el almacén.", (stock,)),),
        ),
        Exchange("¡Sí, por favor! 🙌", "Reservado hasta mañana a las 18:00.", feedback=verdict(random, 0.95)),
    ]

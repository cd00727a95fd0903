"""
The words by which the wording of a text is known.

Everyday English and the words of buying and selling houses, some Spanish. Left out, though common, is what
dates, prices and numbers are made of (``may``, ``second``, ``thousand``), and what stands in names and is
needed for little else (``rose``, ``orange``). Leaving out a word that all texts of a template share does no
harm, since all lose it; keeping one that is a part of a name does.

Plain forms mostly: ``wording`` knows those that end in -s, -ed, -ing and -ly. Contractions stand without
their apostrophe.
"""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SMALL = _set(
    """
    about after again aint all also although am another any are arent around as at awesome back be because
    been before behind being between both but by call called calling can cannot cant could couldnt did didnt
    do does doesnt done dont down during each even every fine for free from get getting give giving go goes
    going gonna good got great had hadnt has hasnt have havent having he her here heres hers hes him his how
    hows i if im into is isnt it itll its ive just later least leave left less let lets many me meet meeting
    message messages might mine minute moment more most much must mustnt my myself near nice no nor not now
    off on only onto other our ours out over phone please quick quickly see she shes should shouldnt since
    so some soon sorry sound such sure take taking talk talking text texting than thank thanks that thats
    their them then there theres these they theyd theyll theyre theyve this those though through time to
    today tomorrow tonight too under unless until up us very voicemail voicemails wanna was wasnt we welcome
    were werent weve what whats when where wheres whether which while who whom whos whose why with without
    wont work works would wouldnt yeah yep yes you youd youll your youre yours yourself youve
    """
)
"""Words that hold a sentence together, courtesies, and what arranges a talk: alone they say nothing."""

SHORTENED = _set("hell id ill shell wed well")
"""Contractions that are other words without their apostrophe."""

TRADE = _set(
    """
    agent agreement apartment appraisal appraise bought broker building buy buyer closing commission comp
    comps condo contract deed deposit disclosure duplex earnest equity escrow evict eviction fee finance
    financed financing foreclosure house inherit inherited inspection interest interested invest investment
    investor landlord lease lender lien listed listing loan mortgage occupied offer own owner ownership
    payoff probate property purchase realtor refinance rehab renovate rent rental rented renter repair sale
    sell seller selling sold tax taxes tenant title townhouse trailer vacant walkthrough
    """
)
"""Words of the trade: a text needs few of them to say what it is about."""

COMMON = _set(
    """
    able above absolute accept accident account accurate active actual add additional address adjuster admit
    advise afford afraid afternoon agency ago agree ahead alive allow almost alone along already alright
    always amazing amend amount angry annoying answer anybody anymore anyone anything anytime anyway
    anywhere apart apologize appear apply appointment appreciate appropriate approve area argue arrange
    arrive asis ask asleep assess assign assist assume assure ate attach attempt attend attention attorney
    aunt authority authorize available average avoid awake aware away awful baby backyard bag balance
    bankruptcy barely basement basic bathroom beat beautiful became become bed bedroom began begin begun
    believe belong below better beyond bid bigger biggest bit boat body bored boss bother boy boyfriend
    break brief briefly bring broke brother brought budget build built business busy cabinet calculate calm
    came camera cancel card care careful careless carpet carried carry catch caught cause ceiling certain
    chair change charge cheap cheaper check cheque child children choice choose chose chosen claim clarify
    clause clean client climb clock close closer closet clothes code coffee collect color come comfortable
    comment commit common company compare complain complete complicated computer concern concerned condition
    confident confirm conflict confused connect consider considerable contact contain continue contractor
    convenient conversation convince cool copy correct cost count counter counteroffer cousin cover crack
    cracked crazy create creative crew crooked curious customer dad damage dangerous daughter dead deadline
    death debt decide decision decline default defer definite delay delinquent deliver demolish dentist deny
    department depend describe deserve destroy detail determine died difference different difficult dinner
    direct direction dirty disability disabled disagree disappear disconnect discount discover discuss
    dishwasher dispute disregard distress divide divorce doctor document dog door doubt doubtful download
    downstairs draft drag drain draw drink driven driveway drop drove dryer due dump dumpster eager earlier
    early earn easier easy eat edge effort either elderly electrician electricity elsewhere email emergency
    employee empty encourage engineer enjoy enough enter entertain entire envelope equal equipment erase
    error especially essential estimate evaluate evening event eventual ever everybody everyone everything
    everywhere evidence exact examine example excellent exchange excite excited excuse executor exist exit
    expand expect expense expensive experienced expert expire explain explore express extend extension extra
    extremely face factor fail fallen familiar fast faster father fault fear feel felt fence fight figure
    file fill filter final financial find finish firm fit fix flexible flip flood floor flooring flyer
    folder follow food forget forgive forgot forgotten form formal former forward found foundation fraud
    freeze frequent fresh friendly froze frozen full fully fun funding funds furnace furnish furniture
    further future garage garbage gas gather general gentle genuine girl girlfriend glance goal gone
    government grab graduate grandfather grandma grandmother grandpa grandson grew group grow grown
    guarantee guarantor guess guest guide guilty gutter hallway handle handwritten hang happen hard hardly
    hardship hassle hate health healthy hear heard heater heating heavy heir held help helpful helpless
    hesitate hide higher highest hire hit hoa hold hole holiday homework hop hopeless horrible hospital host
    hotel however huge hungry hurry hurt husband hvac idea ideal ignore illness imagine immediate important
    impossible improve include income incomplete incorrect increase info inform information inheritance
    initial injure inquire inside insist inspect inspector install instead insulation insurance insure
    insurer intend interesting interior internet interview introduce invite involve involved issue item
    jacket job join joke judge judgement judgment jump junk keep kept kick kid kitchen knew knock know known
    large larger late lately latest laugh launch laundry lawsuit lawyer lawyers lay layout lazy leak learn
    leg legal legit lend lent letter liability license lie lift light like likely limit link list listen
    literally live living load locate lockbox log logical look loose lose loss loud lower lucky lunch
    machine made mail mailbox mailer maintain maintenance major make manage manager marketing match material
    matter maybe meal mean meant measure member mention mess met meter method middle mind minor miss missing
    mistake mold mom money month mood morning mother motivation mouth move mover movie mow mutual name
    nearby nearly necessary need negotiate neighbor neighborhood neither nephew nervous never nevertheless
    news next niece night nobody noise none notary note nothing notice notify nowhere number numbers nurse
    object obligation observe obtain obvious occasion occasional occur odd office officer official often
    okay online open operate operator opinion opportunity opposite option order ordinary organize original
    otherwise outdated outside overall overdue overwhelmed overwhelming owe pack package paid pain paint
    painter panel paper paperwork parent parking part particular partner partnership party past patience
    patient pay payable payment people percent percentage perfect perform perhaps period permanent permit
    person personal photo photos pick piece pipe pitch plan plane play pleased plenty plumber plumbing
    pocket police policy pool poor popular porch portfolio portion position positive possession possibility
    possible postcard postpone potential pour prefer prepare present press pressure pretend pretty prevent
    previous primary principal print priority private probable problem procedure proceed process produce
    profit program progress project promise promote prompt proof proper propose protect proud prove provide
    public publish pull purpose push put qualify quality question quiet quit quite quote railing rain raise
    ran range rate rather reach react ready realize really reason reasonable recall receipt receive recent
    receptionist recognize recommend recommendation reconsider record recover reduce refer reference reflect
    refund refuse regard regardless regret regular reject related relationship relative relax release
    reliable relist relocate rely remain remember remind reminder remote remove renew renovated renovation
    reopen replace reply report represent representative request require reschedule research resolve respond
    response responsibility responsible restaurant restore result retire retirement return reveal reverse
    review rid right risk roof room rough rude sad safe safety said same sample save say scam scare scared
    schedule search seat section secure security seem seen select send sense sensitive sent separate septic
    serious serve service session set settle settlement several severe sewer shake shape share shed shocked
    shop shovel shower shown shut sibling sick side sidewalk siding sign signature significant similar
    simple sister sit site situation skill sleep slept slightly slip slow smaller smart smell smoke smooth
    soft solid solution somebody somehow someone something sometime sometimes somewhat somewhere sooner sort
    source space speak specific spend spent split spoke spoken spouse spread staff stair stand standard
    start statement status stay steady steal step stick still stole stolen stood stop stopped storage stove
    strange stranger strategy stress strict struggle stuck study stuff stupid style subject submit succeed
    successful sudden suffer sufficient suggest suggestion suit suitable summary super supplies support
    suppose surgery surround survey swap switch system table taken tank target team tear tell temporary term
    terminate terms terrible test thankful thing think thorough thought threw throw thrown ticket tile
    timeframe timeline timing tired together toilet told tone took tool topic total touch tough toward toy
    trade traffic train transaction transfer trash travel treat trick tried trip trouble truck trustee try
    tub turn turnkey tv type typical ugly unable uncle understand understood unfair unfortunate unhappy
    unique unknown unlikely unlisted unlock unpaid update upgrade upload upset upstairs urgent use used
    useful usual usually utilities utility vacate vacation vague valid valuable value various vehicle verify
    version video visit visitor voice volume vote wait walk want warn warning warranty wash washer watch
    weak wear weather web website wedding weed week weekend weight weird went wet whatever whenever wherever
    whichever whoever whole wholesale wholesaler wide wife willing window wipe wire wiring wish withdraw
    withdrawn withdrew witness woman wonderful word worker worried worry worse worst write written wrong
    wrote yard year yell yesterday yet
    """
)
"""Words that tell texts apart."""

SPANISH = _set(
    """
    abogado ahora algo alguien alquilar alquiler antes apartamento arreglar arreglos aun ayuda ayudar
    ayudarle año años aún banco baño cerramos cerrar cierre cita cocina comision comisiones comisión compra
    comprador compramos comprar compro compromiso con contestar conteste contrato correo costo costos cual
    cualquier cuando cuanto cuál cuándo cuánto cómo decir desde despues después deuda dice diga dinero
    disculpe disponible documentos donde dueña dueño día días dígame dónde efectivo entre enviar envié envíe
    envío era es esa escriba escribe escribir escribo ese eso esposa esposo esta estamos estar esto estoy
    está están facil familia favor firma firmar firme firmó fue fácil gastos gracias gusta gustaria gustaría
    hablamos hablar hable hablo hace hacemos hacer haga hasta heredó herencia hermana hermano hija hijo
    hipoteca hogar hoy impuestos inquilino inquilinos interes interesa interesada interesado interés listo
    llamada llamar llame llamo llamé llámeme luego madre mandar mande mandé mas mañana menos mensaje meses
    mucha mucho muy más nada nadie necesita necesitamos necesitan necesito nosotros notario numero nunca
    número oferta oferto ofrece ofrecemos ofrecer ofrezco otra otro padre paga pagamos pagar pagarle pago
    pagos papeles para pasar pase perdón pero poco podemos poder podria podría por porque precio pregunta
    preguntas problema problemas pronto propiedad propiedades propietaria propietario puede pueden puedo que
    queremos querer queria quería quien quiere quieren quiero quisiera quién qué rapido recibir recibió
    recibí renta rentar reparacion reparaciones reparación reparar responda responde responder reunión
    rápido sabe sabemos saber salga salir segura semana semanas ser seria sería siempre siento sigue sin
    sobre somos soy tambien también tarde techo telefono teléfono temprano tenemos tener tengo tenía terreno
    texto tiempo tiene tienen toda todas todavia todavía todo todos título usted ustedes vamos vea vende
    vendedor venden vender venderia vendería venga venir venta ver viene vimos visita visitar vivienda ya
    """
)
"""The same for texts in Spanish; many owners are texted in it."""

AMBIGUOUS = _set(
    """
    bad bank base bath bell best big bill blind board box bright broad broken buddy burn carpenter case cash
    city clear cook corner country county couple court current cut day deal deep die double drew dry end
    fair fall far fell few field fields fire fish force frank friend front gain gap ginger glad grace grass
    guy hair half hand happy head heart heat hidden high hill home hope hopeful hot hour hundredth
    independent jack joint joy key kill kind king last lawn lead level line little local lock long lost lot
    love low main man mile miles mobile normal page park pass picture place plant pleasant point post power
    price read real reserve rest rich ring rule run rush rusty school sharp shore short single skip small
    snow son special spring stage state stone store storm story straight strong sun sunshine supply surprise
    tenth tie top town tree trust truth union van view wake wall warm waste water way wind windy winner wise
    wonder world worth young zone
    """
)
"""Words that are in names of people, streets, towns and companies too: kept only behind OPENERS."""

OPENERS = _set(
    """
    a an another any as be been being each every get got had has have her his how its less more most my need
    no not one our so some that the their these this those too very want what which your
    """
)
"""Words that a common word follows, and hardly ever a name."""

SILENT = _set("a an and in of or the will")
"""Words that are never kept, since they come and go with names."""

GREETINGS = _set("afternoon dear evening greetings hello hey hi hiya howdy morning")
"""What a name, or a word in place of one, may follow."""

STAND_INS = _set(
    """
    everybody everyone folks friend guys homeowner maam neighbor owner sir team there
    """
)
"""What people are called whose name is not known."""

TITLES = _set("miss mister mr mrs ms")
"""What a family name follows."""

NAME_JOINTS = _set("and de estate family la of the trust")
"""What is in a name, and is no name: ``Estate of``, ``The … Family Trust``."""

NAME_ENDS = _set("family trust")
"""What follows a family name."""

STREET_TYPES = _set(
    """
    alley aly av ave avenue bend blvd bnd boulevard brg bridge cir circle court cove creek crk crossing ct
    cv dr drive expy fwy grove grv highway hollow holw hwy lane ln loop lp parkway pass path pike pkwy pl
    place plaza plz point pt rd road route row rte run sq square st street ter terr terrace tpke trail trl
    turnpike way xing
    """
)
"""How a street address ends, if a number began it."""

UNITS = _set("apartment apt suite unit")
"""What stands before the number of an apartment."""

STATES = _set("me on")
"""Codes of states and provinces that are words as well, and are kept."""

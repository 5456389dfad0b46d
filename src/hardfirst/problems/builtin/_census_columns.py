"""The columns of the census's files, and their part in the problem."""

# The files have no header; these are their columns, in order.
COLUMNS = (
    *("age", "class_of_worker", "industry", "occupation", "education", "wage_per_hour", "enrolled", "marital_status"),
    *("major_industry", "major_occupation", "race", "hispanic_origin", "sex", "union", "reason_for_unemployment"),
    *("employment", "capital_gains", "capital_losses", "dividends", "tax_filer", "previous_region", "previous_state"),
    *("household", "household_summary", "instance_weight", "migration_msa", "migration_region", "migration_within"),
    *("same_house", "migration_sunbelt", "employer_size", "parents", "birth_father", "birth_mother", "birth_self"),
    *("citizenship", "own_business", "veteran_questionnaire", "veterans_benefits", "weeks_worked", "year", "income"),
)
CATEGORIES = {  # with the number of answers of each
    "class_of_worker": 9,
    "industry": 52,
    "occupation": 47,
    "race": 5,
    "hispanic_origin": 10,
    "sex": 2,
    "reason_for_unemployment": 6,
    "employment": 8,
    "previous_region": 6,
    "previous_state": 51,
    "migration_msa": 10,
    "migration_region": 9,
    "migration_within": 10,
    "same_house": 3,
    "migration_sunbelt": 4,
    "veteran_questionnaire": 3,
    "veterans_benefits": 3,
    "year": 2,
}
UNSEEN = 0  # the code of an answer that is not in the training split
NUMBERS = ("age", "wage_per_hour", "dividends")
SCHOOLING = (  # lowest first; the class is the index
    "Less than 1st grade",
    "1st 2nd 3rd or 4th grade",
    "5th or 6th grade",
    "7th and 8th grade",
    "9th grade",
    "10th grade",
    "11th grade",
    "12th grade no diploma",
    "High school graduate",
    "Some college but no degree",
    "Associates degree-occup /vocational",
    "Associates degree-academic program",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
QUESTIONS = ("income", "never_married", "union", "citizen", "capital_gain")  # yes or no
ASKED_FROM = 15  # years of age
WEEKS_MEAN, WEEKS_DEVIATION = 30.4, 23.7  # of the training split

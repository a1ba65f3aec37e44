from spti_ray.config import PromptsConfig
from spti_ray.models.chat import few_shot_messages
from spti_ray.public import prompts as build

PROMPTS = PromptsConfig(
    domain="stickers",
    examples=("a bear", "a red hammer"),
    fill_examples=({"blanks": "a _ bear", "filled": "a white bear"}, {"blanks": "a _", "filled": "a kite"}),
)


def test_each_example_becomes_a_question_and_its_answer_and_the_target_the_last_question():
    assert few_shot_messages(build.fill_prompt(PROMPTS, "a _ frog (green)", 4)) == [
        {
            "role": "user",
            "content": "Fill in the blanks of descriptions of stickers.\n\nBlanks: a _ bear\nFilled (3 words):",
        },
        {"role": "assistant", "content": "a white bear"},
        {"role": "user", "content": "Blanks: a _\nFilled (2 words):"},
        {"role": "assistant", "content": "a kite"},
        {"role": "user", "content": "Blanks: a _ frog (green)\nFilled (4 words):"},
    ]


def test_the_examples_of_new_texts_become_turns_too():
    turns = few_shot_messages(build.random_prompt(PROMPTS, {"subject": "cat"}, 5))
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert turns[-1]["content"] == "Subject: cat. Text (5 words):"


def test_a_prompt_without_examples_is_one_message():
    assert few_shot_messages("Say something.\nNow:") == [{"role": "user", "content": "Say something.\nNow:"}]

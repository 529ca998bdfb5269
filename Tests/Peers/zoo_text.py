"""The part of the zoo that reads text and sound: tiny configurations of transformers' architectures, and recurrent nets."""


def transformers_models():
    import torch
    import transformers as tf

    def tokens(length=12, count=99, batch=2):
        return torch.randint(3, count, (batch, length))

    def encoder(config, model, inputs=None, field="last_hidden_state", **settings):
        base = dict(
            vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
            max_position_embeddings=64,
        )  # fmt: skip

        def make():
            wanted = {k: v for k, v in (base | settings).items() if v is not None}
            net = model(config(**wanted, attn_implementation="eager")).eval()
            given = [inputs()] if inputs else [tokens(), torch.ones(2, 12, dtype=torch.long)]
            if not inputs:
                given[1][1, 9:] = 0
            return Pick(torch, net, field, inputs is None), given

        return make

    def whisper():
        config = tf.WhisperConfig(
            vocab_size=99, num_mel_bins=16, d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=37,
            decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=37, max_source_positions=30, pad_token_id=0,
            bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, attn_implementation="eager",
        )  # fmt: skip
        return Pick(torch, tf.WhisperModel(config).encoder.eval(), "last_hidden_state", False), [torch.randn(1, 16, 60)]

    def clip():
        text = dict(vocab_size=99, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
                    max_position_embeddings=16, eos_token_id=2, bos_token_id=1, pad_token_id=0)  # fmt: skip
        vision = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32,
                      patch_size=8)  # fmt: skip
        config = tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16, attn_implementation="eager")
        net = tf.CLIPModel(config).eval()

        class Both(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, ids, mask, pixels):
                return self.net(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits_per_image

        return Both(), [tokens(), torch.ones(2, 12, dtype=torch.long), torch.randn(2, 3, 32, 32)]

    def sound(config, model, **settings):
        def make():
            base = dict(
                vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
                conv_dim=(16, 16, 16), conv_stride=(5, 2, 2), conv_kernel=(10, 3, 3), num_feat_extract_layers=3,
                num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
            )  # fmt: skip
            net = model(config(**(base | settings), attn_implementation="eager")).eval()
            return Pick(torch, net, "last_hidden_state", False), [torch.randn(1, 1200)]

        return make

    def pixels(size=32):
        return lambda: torch.randn(1, 3, size, size)

    gpt = dict(hidden_size=None, num_hidden_layers=None, num_attention_heads=None, intermediate_size=None,
               max_position_embeddings=None, n_embd=32, n_layer=2, n_head=4, n_positions=64)  # fmt: skip
    llama = dict(num_key_value_heads=2)
    return {
        "bert": encoder(tf.BertConfig, tf.BertModel),
        "roberta": encoder(tf.RobertaConfig, tf.RobertaModel, pad_token_id=1),
        "distilbert": encoder(
            tf.DistilBertConfig, tf.DistilBertModel, hidden_size=None, num_hidden_layers=None, num_attention_heads=None,
            intermediate_size=None, dim=32, n_layers=2, n_heads=4, hidden_dim=37),
        "albert": encoder(tf.AlbertConfig, tf.AlbertModel, embedding_size=16),
        "electra": encoder(tf.ElectraConfig, tf.ElectraModel, embedding_size=16),
        "deberta": encoder(tf.DebertaConfig, tf.DebertaModel, pos_att_type=["c2p", "p2c"], relative_attention=True),
        "deberta_v2": encoder(tf.DebertaV2Config, tf.DebertaV2Model, pos_att_type=["c2p", "p2c"], relative_attention=True),
        "mobilebert": encoder(
            tf.MobileBertConfig, tf.MobileBertModel, embedding_size=32, true_hidden_size=16, intra_bottleneck_size=16,
            intermediate_size=32, num_feedforward_networks=2),
        "squeezebert": encoder(tf.SqueezeBertConfig, tf.SqueezeBertModel, embedding_size=32, intermediate_size=64),
        "mpnet": encoder(tf.MPNetConfig, tf.MPNetModel),
        "convbert": encoder(tf.ConvBertConfig, tf.ConvBertModel, embedding_size=32),
        "fnet": encoder(tf.FNetConfig, tf.FNetModel, inputs=tokens, num_attention_heads=None),
        "gpt2": encoder(tf.GPT2Config, tf.GPT2LMHeadModel, field="logits", **gpt),
        "gpt_neox": encoder(tf.GPTNeoXConfig, tf.GPTNeoXForCausalLM, field="logits"),
        "opt": encoder(
            tf.OPTConfig, tf.OPTForCausalLM, field="logits", intermediate_size=None, ffn_dim=37, word_embed_proj_dim=32),
        "bloom": encoder(
            tf.BloomConfig, tf.BloomForCausalLM, field="logits", num_hidden_layers=None, num_attention_heads=None,
            intermediate_size=None, max_position_embeddings=None, n_layer=2, n_head=4),
        "llama": encoder(tf.LlamaConfig, tf.LlamaForCausalLM, field="logits", **llama),
        "qwen2": encoder(tf.Qwen2Config, tf.Qwen2ForCausalLM, field="logits", **llama),
        "gemma": encoder(tf.GemmaConfig, tf.GemmaForCausalLM, field="logits", head_dim=8, **llama),
        "phi": encoder(tf.PhiConfig, tf.PhiForCausalLM, field="logits"),
        "t5_encoder": encoder(
            tf.T5Config, tf.T5EncoderModel, hidden_size=None, num_hidden_layers=None, num_attention_heads=None,
            intermediate_size=None, max_position_embeddings=None, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4),
        "bart_encoder": encoder(
            tf.BartConfig, lambda config: tf.BartModel(config).encoder, hidden_size=None, num_hidden_layers=None,
            num_attention_heads=None, intermediate_size=None, d_model=32, encoder_layers=2, decoder_layers=1,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=37, decoder_ffn_dim=37),
        "modernbert": encoder(
            tf.ModernBertConfig, tf.ModernBertModel, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
            sep_token_id=2, local_attention=8, global_attn_every_n_layers=2),
        "whisper_encoder": whisper,
        "clip": clip,
        "wav2vec2": sound(tf.Wav2Vec2Config, tf.Wav2Vec2Model),
        "hubert": sound(tf.HubertConfig, tf.HubertModel),
        "segformer": encoder(
            tf.SegformerConfig, tf.SegformerForSemanticSegmentation, pixels(64), "logits", vocab_size=None, hidden_size=None,
            num_hidden_layers=None, intermediate_size=None, max_position_embeddings=None, depths=[1, 1, 1, 1],
            hidden_sizes=[16, 32, 32, 64], num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=32),
        "dinov2": encoder(
            tf.Dinov2Config, tf.Dinov2Model, pixels(), vocab_size=None, intermediate_size=None, image_size=32, patch_size=8,
            max_position_embeddings=None),
        "vit_hf": encoder(
            tf.ViTConfig, tf.ViTModel, pixels(), vocab_size=None, image_size=32, patch_size=8, max_position_embeddings=None),
        "detr_yolos": encoder(
            tf.YolosConfig, tf.YolosForObjectDetection, pixels(64), "logits", vocab_size=None, image_size=[64, 64],
            patch_size=16, max_position_embeddings=None, num_detection_tokens=5),
    }  # fmt: skip


def Pick(torch, net, field, masked):
    """Gives one tensor of what a model of transformers returns."""

    class OneOutput(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            if hasattr(net.config, "use_cache"):
                net.config.use_cache = False

        def forward(self, *given):
            if masked:
                return getattr(self.net(input_ids=given[0], attention_mask=given[1]), field)
            return getattr(self.net(given[0]), field)

    return OneOutput()


def recurrent_models():
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self, kind, **settings):
            super().__init__()
            self.embed = nn.Embedding(50, 16)
            self.rnn = kind(16, 12, num_layers=2, batch_first=True, bidirectional=True, **settings)
            self.head = nn.Linear(24, 5)

        def forward(self, ids):
            states, _ = self.rnn(self.embed(ids))
            return self.head(states)

    class SpeechNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Sequential(
                nn.Conv1d(20, 16, 5, stride=2, padding=2), nn.BatchNorm1d(16), nn.PReLU(),
                nn.ConvTranspose1d(16, 16, 4, stride=2, padding=1), nn.InstanceNorm1d(16, affine=True), nn.GLU(dim=1))  # fmt: skip
            self.rnn = nn.GRU(8, 12, batch_first=True)

        def forward(self, x, state):
            y, state = self.rnn(self.front(x).transpose(1, 2), state)
            return y.log_softmax(-1), state

    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Transformer(32, 4, 1, 1, 48, batch_first=True, norm_first=True)

        def forward(self, source, target):
            return self.net(source, target, tgt_mask=nn.Transformer.generate_square_subsequent_mask(6))

    ids = lambda: [torch.randint(0, 50, (2, 9))]  # noqa: E731
    return {
        "lstm_tagger": lambda: (Tagger(nn.LSTM), ids()),
        "gru_tagger": lambda: (Tagger(nn.GRU), ids()),
        "rnn_tagger": lambda: (Tagger(nn.RNN, nonlinearity="tanh"), ids()),
        "speech_gru": lambda: (SpeechNet(), [torch.randn(2, 20, 18), torch.randn(1, 2, 12)]),
        "transformer": lambda: (Seq2Seq(), [torch.randn(2, 7, 32), torch.randn(2, 6, 32)]),
    }
